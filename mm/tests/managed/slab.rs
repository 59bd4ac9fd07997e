//! The slab allocator on emulated machines, against a list of what is held that shares no code with it.

use crate::up::{Kind, Random, give_back, up, up_as};
use mm::Mm;
use mm::addr::{CpuId, Order, PhysRange};
use mm::arch::{Arch, PhysMap};
use mm::model::MemoryModel;
use mm::page_alloc::Gfp;
use mm::slab::{CacheId, KfreeError, ObjectState, Slab, SlabError, SlabProblem};
use mm::zone::ZoneKind;
use mm_testkit::{Machine, run_on};
use std::alloc::Layout;
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;
const SIZES: [usize; 13] = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192];

/// Bytes of a machine that is large enough for everything but exhaustion. Miri walks every record slowly.
const SMALL: u64 = if cfg!(miri) { 2 * MIB } else { 64 * MIB };

fn small() -> Machine<12> {
    Machine::<12>::builder().ram(0, SMALL, 0).finish()
}

/// Objects that are held: address → bytes, each filled with a pattern of its own.
#[derive(Default)]
struct Held(BTreeMap<usize, (*mut u8, usize)>);

impl Held {
    fn add(&mut self, pointer: *mut u8, size: usize) {
        let start = pointer.addr();
        if let Some((&before, &(_, bytes))) = self.0.range(..start + size).next_back() {
            assert!(before + bytes <= start, "{size} bytes at {start:#x} overlap {bytes} at {before:#x}");
        }
        // SAFETY: the object was handed out with this size, to this test alone.
        unsafe { pointer.write_bytes(Self::pattern(start), size) };
        self.0.insert(start, (pointer, size));
    }

    fn pattern(start: usize) -> u8 {
        (start >> 3).wrapping_mul(0x9d) as u8 | 1
    }

    fn check(start: usize, pointer: *mut u8, size: usize) {
        // SAFETY: the object is held by this test and was written as a whole.
        let bytes = unsafe { std::slice::from_raw_parts(pointer, size) };
        assert!(bytes.iter().all(|&byte| byte == Self::pattern(start)), "{size} bytes at {start:#x} were changed");
    }

    fn take(&mut self, random: &mut Random) -> Option<(*mut u8, usize)> {
        let at = random.below(self.0.len().max(1) as u64) as usize;
        let (&start, &(pointer, size)) = self.0.iter().nth(at)?;
        self.0.remove(&start);
        Self::check(start, pointer, size);
        Some((pointer, size))
    }

    fn all(self) -> impl Iterator<Item = (*mut u8, usize)> {
        self.0.into_iter().map(|(start, (pointer, size))| {
            Self::check(start, pointer, size);
            (pointer, size)
        })
    }
}

/// Objects in use and slabs of a cache.
fn numbers<A: Arch, M: MemoryModel<A>>(mm: &Mm<A, M>, name: &str) -> (u64, u64) {
    let mut found = None;
    let _ = mm.slab.for_each_cache::<()>(&mut |cache| {
        if cache.name == name {
            assert_eq!(cache.objects, cache.slabs * u64::from(cache.objects_per_slab));
            found = Some((cache.active_objects, cache.slabs));
        }
        Ok(())
    });
    found.unwrap()
}

#[test]
fn a_new_allocator_has_linux_caches_and_verifies() {
    let machine = small();
    let mm = up(&machine, &[]);
    let mut names = vec![];
    let _ = mm.slab.for_each_cache::<()>(&mut |cache| {
        names.push(cache.name.to_string());
        Ok(())
    });
    assert_eq!(names[0], "kmem_cache");
    assert_eq!(names.len(), 14);
    assert!(names.contains(&"kmalloc-8k".to_string()) && names.contains(&"kmalloc-96".to_string()));
    assert_eq!(numbers(&mm, "kmem_cache").0, 14);
    let verified = mm.verify().unwrap();
    assert_eq!((verified.slab.caches, verified.slab.objects), (14, 14));
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn every_class_fills_and_empties_and_gives_its_pages_back() {
    let machine = small();
    let mm = up(&machine, &[]);
    mm.slab.shrink();
    let before = mm.pages.free_pages();
    for size in SIZES {
        let mut held = Held::default();
        for _ in 0..700 {
            let pointer = mm.slab.kmalloc(size, 8).unwrap().as_ptr();
            // A power of two is aligned to itself.
            assert_eq!(pointer.addr() % (1 << size.trailing_zeros()), 0);
            held.add(pointer, size);
        }
        let mut random = Random::new(size as u64);
        let full = mm.slab.verify().unwrap();
        assert!(full.objects >= held.0.len() as u64);
        while let Some((pointer, _)) = held.take(&mut random) {
            // SAFETY: the object is held by this test and given up here.
            unsafe { mm.slab.kfree(pointer) }.unwrap();
        }
    }
    mm.verify().unwrap();
    mm.slab.shrink();
    assert_eq!(mm.pages.free_pages(), before, "pages stay in empty slabs");
    assert_eq!(mm.verify().unwrap().slab.objects, 14);
}

/// Random sizes and alignments, through `allocate` and `deallocate`.
fn storm<A: Arch, M: MemoryModel<A>>(mm: &Mm<A, M>, steps: u32, seed: u64) {
    let before = {
        mm.slab.shrink();
        mm.pages.free_pages()
    };
    let mut random = Random::new(seed);
    let mut held = Held::default();
    let mut layouts = BTreeMap::new();
    for step in 0..steps {
        let grow = (step / 400) % 2 == 0;
        if random.below(10) < if grow { 7 } else { 3 } {
            let bits = 1 + random.below(15);
            let size = (1 + random.below(1 << bits)) as usize;
            let largest = if random.below(20) == 0 { 15 } else { 7 };
            let align = 1usize << random.below(largest);
            let layout = Layout::from_size_align(size, align).unwrap();
            let pointer = mm.slab.allocate(layout);
            if !pointer.is_null() {
                assert_eq!(pointer.addr() % align, 0, "{layout:?}");
                held.add(pointer, size);
                layouts.insert(pointer.addr(), layout);
            }
        } else if let Some((pointer, _)) = held.take(&mut random) {
            // SAFETY: the memory is held by this test and given up here.
            unsafe { mm.slab.deallocate(pointer, layouts[&pointer.addr()]) }.unwrap();
        }
        if step % 500 == 499 {
            let verified = mm.verify().unwrap();
            assert!(verified.slab.objects <= 14 + held.0.len() as u64);
        }
    }
    for (pointer, _) in held.all() {
        // SAFETY: as above.
        unsafe { mm.slab.kfree(pointer) }.unwrap();
    }
    mm.slab.shrink();
    assert_eq!(mm.pages.free_pages(), before);
    assert_eq!(mm.verify().unwrap().slab.objects, 14);
}

const STEPS: u32 = if cfg!(miri) { 20 } else { 3000 };

pub(crate) fn storm_with_4_kib_pages<K: Kind>() {
    let machine = small();
    storm(&up_as::<K, _>(&machine, &[]), STEPS, 1);
}

pub(crate) fn storm_with_16_kib_pages<K: Kind>() {
    let machine = Machine::<14>::builder().ram(32 << 30, 2 * SMALL, 0).finish();
    storm(&up_as::<K, _>(&machine, &[]), STEPS, 2);
}

pub(crate) fn storm_with_64_kib_pages<K: Kind>() {
    let machine = Machine::<16>::builder().ram(0, 4 * SMALL, 0).finish();
    storm(&up_as::<K, _>(&machine, &[]), STEPS, 3);
}

#[test]
fn a_second_free_is_refused_wherever_the_object_stands_in_the_list() {
    let machine = small();
    let mm = up(&machine, &[]);
    for size in SIZES.into_iter().step_by(if cfg!(miri) { 4 } else { 1 }) {
        let pointers: Vec<_> = (0..6).map(|_| mm.slab.kmalloc(size, 8).unwrap().as_ptr()).collect();
        let kept = mm.slab.kmalloc(size, 8).unwrap().as_ptr();
        for &pointer in &pointers {
            // SAFETY: the object is held by this test and given up here.
            unsafe { mm.slab.kfree(pointer) }.unwrap();
        }
        let before = mm.slab.verify().unwrap();
        for &pointer in &pointers {
            // SAFETY: the object is not handed out, so the call only has to say so.
            assert_eq!(unsafe { mm.slab.kfree(pointer) }, Err(KfreeError::DoubleFree), "{size} bytes");
        }
        assert_eq!(mm.slab.verify(), Ok(before));
        // SAFETY: the object is held by this test and given up here.
        unsafe { mm.slab.kfree(kept) }.unwrap();
    }
}

#[test]
fn a_second_free_of_a_slab_or_block_that_is_gone_is_refused() {
    let machine = small();
    let mm = up(&machine, &[]);
    let large = mm.slab.kmalloc(20_000, 8).unwrap().as_ptr();
    let small = mm.slab.kmalloc(512, 8).unwrap().as_ptr();
    // SAFETY: both are held by this test and given up here.
    unsafe {
        mm.slab.kfree(large).unwrap();
        mm.slab.kfree(small).unwrap();
    }
    mm.slab.shrink();
    for pointer in [large, small] {
        // SAFETY: nothing is handed out there, so the call only has to say so.
        assert_eq!(unsafe { mm.slab.kfree(pointer) }, Err(KfreeError::DoubleFree));
    }
    mm.verify().unwrap();
}

#[test]
fn frees_that_cannot_be_right_are_refused_by_name() {
    let machine = small();
    let mm = up(&machine, &[(MIB, 0x1000)]);
    let access = machine.handle();
    let cache = mm.slab.create("inode", 600, 8).unwrap();
    let other = mm.slab.create("dentry", 192, 64).unwrap();
    let object = mm.slab.alloc(cache).unwrap().as_ptr();
    let large = mm.slab.kmalloc(20_000, 8).unwrap().as_ptr();
    let page = mm.pages.alloc(Order::default(), Gfp::KERNEL).unwrap();
    let page = access.phys_ptr(page.address(12));
    let reserved = access.phys_ptr(mm::addr::PhysAddr::new(MIB));
    let foreign = Box::into_raw(Box::new(0u64)).cast::<u8>();
    let before = mm.verify().unwrap();
    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    // SAFETY: none of these calls names an object with its own cache, size and address, so nothing is given up.
    unsafe {
        let slab = &mm.slab;
        assert_eq!(slab.kfree(object.add(1)), Err(KfreeError::Misaligned { offset: 1 }));
        assert_eq!(slab.kfree(object.add(8)), Err(KfreeError::Misaligned { offset: 8 }));
        assert_eq!(slab.free(other, object), Err(KfreeError::WrongCache));
        assert_eq!(slab.free(other, large), Err(KfreeError::WrongCache));
        assert_eq!(slab.deallocate(object, layout(600)), Err(KfreeError::WrongCache));
        assert_eq!(slab.deallocate(object, layout(40_000)), Err(KfreeError::WrongCache));
        assert_eq!(slab.deallocate(large, layout(8)), Err(KfreeError::WrongCache));
        let allocated = Order::new(3).unwrap();
        assert_eq!(slab.deallocate(large, layout(40_000)), Err(KfreeError::WrongSize { allocated }));
        assert_eq!(slab.kfree(large.add(16)), Err(KfreeError::Misaligned { offset: 16 }));
        assert_eq!(slab.kfree(large.add(5000)), Err(KfreeError::Misaligned { offset: 5000 }));
        assert_eq!(slab.kfree(page), Err(KfreeError::NotAnObject));
        assert_eq!(slab.kfree(reserved), Err(KfreeError::NotAnObject));
        assert_eq!(slab.kfree(foreign), Err(KfreeError::NotAnObject));
        assert_eq!(slab.kfree(std::ptr::null_mut()), Err(KfreeError::NotAnObject));
        drop(Box::from_raw(foreign.cast::<u64>()));
    }
    assert_eq!(mm.verify(), Ok(before));
    // SAFETY: both are held by this test and given up here.
    unsafe {
        mm.slab.free(cache, object).unwrap();
        mm.slab.deallocate(large, layout(20_000)).unwrap();
    }
    mm.verify().unwrap();
}

#[test]
fn slab_pages_cannot_be_freed_as_pages() {
    let machine = small();
    let mm = up(&machine, &[]);
    for size in [64, 4096, 20_000] {
        let object = mm.slab.kmalloc(size, 8).unwrap().as_ptr();
        let pfn = mm::addr::Pfn::containing(machine.handle().ptr_phys(object).unwrap(), 12);
        for order in Order::all() {
            assert!(give_back(&mm.pages, pfn, order).is_err());
        }
        // SAFETY: the object is held by this test and given up here.
        unsafe { mm.slab.kfree(object) }.unwrap();
    }
    mm.verify().unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn there_is_no_limit_on_the_number_of_caches() {
    let machine = small();
    let mm = up(&machine, &[]);
    let count = 1500;
    let caches: Vec<CacheId> =
        (0..count).map(|number| mm.slab.create(&format!("cache-{number}"), 24 + number % 300, 8).unwrap()).collect();
    let objects: Vec<_> = caches.iter().map(|&cache| mm.slab.alloc(cache).unwrap().as_ptr()).collect();
    assert_eq!(mm.verify().unwrap().slab.caches, 14 + count);
    for (&cache, &object) in caches.iter().zip(&objects) {
        // SAFETY: the object is held by this test and given up here.
        unsafe { mm.slab.free(cache, object) }.unwrap();
    }
    mm.verify().unwrap();
    let long = "a name that is much longer than any cache has ever had";
    mm.slab.create(long, 8, 8).unwrap();
    assert_eq!(numbers(&mm, &long[..32]), (0, 0));
}

#[test]
fn what_cannot_be_served_is_refused() {
    let machine = small();
    let mm = up(&machine, &[]);
    assert!(matches!(mm.slab.kmalloc((4 << 20) + 1, 8), Err(SlabError::TooLarge { .. })));
    assert!(matches!(mm.slab.kmalloc(usize::MAX, 8), Err(SlabError::TooLarge { .. })));
    assert!(matches!(mm.slab.kmalloc(8, 8 << 20), Err(SlabError::TooLarge { .. })));
    assert!(matches!(mm.slab.create("odd", 8, 3), Err(SlabError::TooLarge { .. })));
    assert!(matches!(mm.slab.create("huge", 5 << 20, 8), Err(SlabError::TooLarge { .. })));
    assert!(mm.slab.allocate(Layout::from_size_align(8, 16 << 20).unwrap()).is_null());
    mm.verify().unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn memory_runs_out_cleanly_and_comes_back() {
    let machine = Machine::<12>::builder().ram(0, 8 * MIB, 0).finish();
    let mm = up(&machine, &[]);
    mm.slab.shrink();
    let before = mm.pages.free_pages();
    for size in [2048, 96, 12_000] {
        let mut held = Held::default();
        let error = loop {
            match mm.slab.kmalloc(size, 8) {
                Ok(pointer) => held.add(pointer.as_ptr(), size),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, SlabError::Pages(_)), "{error}");
        mm.verify().unwrap();
        for (pointer, _) in held.all() {
            // SAFETY: the object is held by this test and given up here.
            unsafe { mm.slab.kfree(pointer) }.unwrap();
        }
        mm.slab.shrink();
        assert_eq!(mm.pages.free_pages(), before);
    }
}

#[test]
fn a_link_that_was_overwritten_is_found() {
    let machine = small();
    let mm = up(&machine, &[]);
    let cache = mm.slab.create("victim", 64, 8).unwrap();
    let object = mm.slab.alloc(cache).unwrap().as_ptr();
    let kept = mm.slab.alloc(cache).unwrap();
    // SAFETY: the object is held by this test and given up here.
    unsafe { mm.slab.free(cache, object) }.unwrap();
    mm.verify().unwrap();
    let word = object.cast::<u64>();
    for bit in (0..64).step_by(if cfg!(miri) { 9 } else { 1 }) {
        // SAFETY: a use after free, on purpose: the word is memory of this machine, and nobody else runs.
        unsafe { word.write(word.read() ^ (1 << bit)) };
        let fault = mm.slab.verify().unwrap_err();
        assert_eq!((&*fault.cache, fault.problem), ("victim", SlabProblem::FreeList), "bit {bit}");
        // SAFETY: as above.
        unsafe { word.write(word.read() ^ (1 << bit)) };
    }
    mm.verify().unwrap();
    // SAFETY: as above.
    unsafe { word.write(0) };
    // The object itself can still be handed out; what stood behind it in the list is given up, and said.
    assert_eq!(mm.slab.alloc(cache).unwrap().as_ptr(), object);
    assert_ne!(mm.slab.alloc(cache).unwrap(), kept);
    assert_eq!(mm.slab.verify().unwrap_err().problem, SlabProblem::Broken);
}

#[test]
fn objects_come_from_the_node_of_the_cpu() {
    let machine = Machine::<12>::builder().ram(0, SMALL, 0).ram(1 << 30, SMALL, 1).cpus(2).finish();
    let mm = up(&machine, &[]);
    let cache = mm.slab.create("local", 100, 8).unwrap();
    for (cpu, range) in [(0, (0, SMALL)), (1, (1 << 30, SMALL)), (0, (0, SMALL))] {
        let range = PhysRange::from_size(mm::addr::PhysAddr::new(range.0), range.1).unwrap();
        run_on(CpuId::new(cpu), || {
            for _ in 0..3 {
                let object = mm.slab.alloc(cache).unwrap().as_ptr();
                assert!(range.contains(machine.handle().ptr_phys(object).unwrap()), "CPU {cpu}");
            }
        });
    }
    assert_eq!(numbers(&mm, "local"), (9, 2));
    let nodes = [0, 1].map(|node| mm.slab.pages_on(mm::addr::NodeId::new(node)));
    assert!(nodes[1] >= 1);
    assert_eq!(nodes[0] + nodes[1], mm.slab.pages());
    mm.verify().unwrap();
}

#[test]
fn an_address_is_traced_to_its_object() {
    let machine = small();
    let mm = up(&machine, &[]);
    let object = mm.slab.kmalloc(100, 8).unwrap().as_ptr();
    let start = machine.handle().ptr_phys(object).unwrap();
    let info = mm.slab.object_at(start.saturating_add(77)).unwrap();
    assert_eq!((&*info.cache, info.start, info.size, info.state), ("kmalloc-128", start, 128, ObjectState::InUse));
    // SAFETY: the object is held by this test and given up here.
    unsafe { mm.slab.kfree(object) }.unwrap();
    assert_eq!(mm.slab.object_at(start).unwrap().state, ObjectState::Free);
    assert_eq!(mm.slab.object_at(mm::addr::PhysAddr::new(MIB)), None);
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn cpus_allocate_and_free_side_by_side() {
    let machine = Machine::<12>::builder().ram(0, 64 * MIB, 0).ram(1 << 30, 64 * MIB, 1).cpus(4).finish();
    let mm = up(&machine, &[]);
    mm.slab.shrink();
    let before = mm.pages.free_pages();
    std::thread::scope(|scope| {
        for cpu in 0..4 {
            let mm = &mm;
            scope.spawn(move || {
                run_on(CpuId::new(cpu), || {
                    let mut random = Random::new(91 + u64::from(cpu));
                    let mut held = Held::default();
                    for _ in 0..4000 {
                        if random.below(2) == 0 {
                            let size = 1 + random.below(600) as usize;
                            held.add(mm.slab.kmalloc(size, 8).unwrap().as_ptr(), size);
                        } else if let Some((pointer, _)) = held.take(&mut random) {
                            // SAFETY: the object is held by this thread and given up here.
                            unsafe { mm.slab.kfree(pointer) }.unwrap();
                        }
                    }
                    for (pointer, _) in held.all() {
                        // SAFETY: as above.
                        unsafe { mm.slab.kfree(pointer) }.unwrap();
                    }
                });
            });
        }
    });
    mm.slab.shrink();
    assert_eq!(mm.pages.free_pages(), before);
    assert_eq!(mm.verify().unwrap().slab.objects, 14);
}

/// A second one would take the first one's slabs for its own, by the numbers in their records.
#[test]
fn pages_have_one_slab_allocator() {
    let machine = small();
    let mm = up(&machine, &[]);
    assert_eq!(Slab::new(mm.pages).err(), Some(SlabError::Taken));
    mm.verify().unwrap();
}

/// A device that reaches 16 MiB gets memory there, however full the caches of `kmalloc` are of memory elsewhere.
#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn memory_for_devices_lies_where_they_reach() {
    let machine = small();
    let mm = up(&machine, &[]);
    let access = machine.handle();
    // A slab with free objects, above 16 MiB.
    let anywhere = mm.slab.kmalloc(64, 8).unwrap();
    assert!(access.ptr_phys(anywhere.as_ptr()).unwrap().as_u64() >= 16 * MIB);
    let low = mm.slab.kmalloc_with(64, 8, Gfp::DMA.zeroed()).unwrap();
    assert!(access.ptr_phys(low.as_ptr()).unwrap().as_u64() < 16 * MIB);
    for pointer in [anywhere, low] {
        // SAFETY: both were handed out right above, and are not used.
        unsafe { mm.slab.kfree(pointer.as_ptr()) }.unwrap();
    }
    let refused = Err(SlabError::Zone(ZoneKind::Movable));
    assert_eq!(mm.slab.kmalloc_with(64, 8, Gfp::MOVABLE), refused);
    assert_eq!(mm.slab.alloc_with(CacheId::KMEM_CACHE, Gfp::DMA), Err(SlabError::Zone(ZoneKind::Dma)));
    mm.verify().unwrap();
}
