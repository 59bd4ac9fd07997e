//! Adopting `mm`: what a kernel supplies, and the way from a range of RAM to a `Box`. Run it with
//! `cargo run -p tessera-mm --example adopt`. The "machine" is 64 MiB of this program's memory, at 1 GiB.
use mm::addr::{CpuId, PhysAddr, PhysRange, VirtAddr};
use mm::arch::{Cpu, IrqState, PageFormat, PhysMap};
use mm::layout::{Layout, VirtRange};
use mm::numa::{Nodes, NumaPolicy};
use mm::paging::{Access, BootFrames, Entry, Level, Mapping, MemoryType, PageTables, RawMapping};
use mm::zone::{MovableRequest, ZoneLimits, Zones};
use mm::{
    Mm,
    machine::{MachineMemory, Rules},
    memblock::Memblock,
};
use std::alloc::{GlobalAlloc, System};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
const START: u64 = 1 << 30;
const SIZE: u64 = 64 << 20;
static RAM: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static ROOT: OnceLock<PhysAddr> = OnceLock::new();
static MM: OnceLock<Mm<Host>> = OnceLock::new();
const LAYOUT: Layout = Layout {
    direct: VirtRange::new(VirtAddr::new(0xffff_0000_0000_0000), VirtAddr::new(0xffff_0100_0000_0000)),
    vmemmap: VirtRange::new(VirtAddr::new(0xffff_a000_0000_0000), VirtAddr::new(0xffff_a002_0000_0000)),
    ..Layout::EMPTY
};

/// The handle: zero-sized, as in a kernel.
#[derive(Clone, Copy, Debug)]
struct Host;
// SAFETY: `RAM` is set once, in `main`, and never freed; virtual addresses are translated by the active tables.
unsafe impl PhysMap for Host {
    fn phys_ptr(self, address: PhysAddr) -> *mut u8 {
        RAM.load(Relaxed).wrapping_add((address.as_u64() - START) as usize)
    }
    fn ptr_phys(self, pointer: *const u8) -> Option<PhysAddr> {
        let at = (pointer.addr() as u64).checked_sub(RAM.load(Relaxed).addr() as u64);
        at.filter(|&at| at < SIZE).map(|at| PhysAddr::new(START + at))
    }
    fn virt_ptr(self, address: VirtAddr) -> *mut u8 {
        // SAFETY: the root that `main` made; here it is only read.
        let found = ROOT.get().and_then(|&root| unsafe { PageTables::new(self, root) }.translate(address));
        found.map_or(std::ptr::null_mut(), |found| self.phys_ptr(found.address))
    }
}
// SAFETY: one CPU without interrupts.
unsafe impl Cpu for Host {
    fn current(self) -> CpuId {
        CpuId::BOOT
    }
    fn irq_save(self) -> IrqState {
        IrqState::Disabled
    }
    fn irq_restore(self, _: IrqState) {}
}
// SAFETY: bit 0 is present, 1 leaf, 2 writable, 3 executable; zero is absent. There is no TLB.
unsafe impl PageFormat for Host {
    const PAGE_SHIFT: u32 = 12;
    const SECTION_SHIFT: u32 = 27;
    const LEVELS: u8 = 4;
    fn leaf_at(self, level: Level) -> bool {
        level <= Level::new(1)
    }
    fn leaf(self, address: PhysAddr, _: Level, mapping: Mapping) -> u64 {
        let (write, execute) = (mapping.access == Access::ReadWrite, mapping.access == Access::ReadExecute);
        address.as_u64() | 3 | u64::from(write) << 2 | u64::from(execute) << 3
    }
    fn table(self, address: PhysAddr) -> u64 {
        address.as_u64() | 1
    }
    fn decode(self, entry: u64, _: Level) -> Entry {
        let (address, bit) = (PhysAddr::new(entry & !0xfff), |bit: u32| (entry >> bit) & 1 == 1);
        let mapping = RawMapping { writable: bit(2), executable: bit(3), memory: MemoryType::Normal };
        match entry & 3 {
            0 => Entry::Absent,
            1 => Entry::Table(address),
            _ => Entry::Leaf { address, mapping },
        }
    }
    fn flush(self, _: VirtRange) {}
    fn publish(self) {}
}
/// The global allocator: `Box` goes to the slab once it is there; before, to the host.
#[global_allocator]
static HEAP: Host = Host;
// SAFETY: memory goes back to where its address says it came from; the caller's promises are handed on.
unsafe impl GlobalAlloc for Host {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        // SAFETY: as above.
        MM.get().map_or_else(|| unsafe { System.alloc(layout) }, |mm| mm.slab.allocate(layout))
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: std::alloc::Layout) {
        match MM.get().filter(|_| Host.ptr_phys(pointer).is_some()) {
            // SAFETY: as above.
            Some(mm) => unsafe { mm.slab.deallocate(pointer, layout) }.unwrap_or_default(),
            // SAFETY: as above.
            None => unsafe { System.dealloc(pointer, layout) },
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let range = PhysRange::from_size(PhysAddr::new(START), SIZE).ok_or("too large")?;
    // SAFETY: the layout has a size above 0.
    RAM.store(unsafe { System.alloc_zeroed(std::alloc::Layout::from_size_align(SIZE as usize, 4096)?) }, Relaxed);
    let mut memblock = Memblock::new(Host);
    memblock.add(range)?;
    // SAFETY: `phys_ptr` reaches all of it, and nobody else uses it.
    unsafe { memblock.set_mapped(range) };
    let tables = PageTables::create(Host, range.start(), &mut BootFrames::new(&mut memblock)).ok_or("no frame")?;
    ROOT.get_or_init(|| tables.root());
    let (machine, text) = (MachineMemory::default(), &mut String::new());
    let nodes = Nodes::assign(memblock, &machine, NumaPolicy::firmware(Rules::Arm64), text, &mut |_| {})?;
    let mut zones = Zones::lay_out(nodes, ZoneLimits::x86(Host::PAGE_SHIFT), MovableRequest::default())?;
    zones.build_zonelists()?;
    // SAFETY: `virt_ptr` walks these tables, by `ROOT`, from now on; nothing else is mapped.
    let started = unsafe { Mm::new(zones, tables, &LAYOUT) }?;
    let mm = MM.get_or_init(|| started);
    let boxed = Box::new([7_u64; 5]);
    let address = Host.ptr_phys((&raw const *boxed).cast()).ok_or("not from the slab")?;
    println!("{}\n{}", mm.slab.object_at(address).ok_or("no object")?, mm.verify()?);
    Ok(())
}
