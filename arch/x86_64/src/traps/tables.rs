//! The descriptor tables: segments, the task state with the trap stacks, the 256 gates.
//!
//! Three traps get a stack of their own from the task state segment, because they can arrive when the current one is
//! unusable: a double fault (after an overflow into a guard page), an NMI and a machine check. Each of these stacks has
//! a guard page too. All gates are interrupt gates, so handlers run with interrupts off.
//!
//! Segments and task state are each CPU's own; the boot CPU's lie in the image with its stacks, the others' in their
//! per-CPU areas. The gates are shared.

use crate::Native;
use crate::cpu::TRAP_STACKS;
use mm::addr::VirtAddr;
use mm::arch::Cpu as _;
use spin::Once;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

/// Vectors with a stack of their own, and that stack's number in the task state, counted from 1 as gates do.
const OWN_STACKS: [(usize, u8); 3] = [(2, 2), (8, 1), (18, 3)];
const VECTORS: usize = 256;
const STUB_BYTES: u64 = 16;

unsafe extern "C" {
    static trap_stubs: u8;
    static double_fault_stack_top: u8;
    static nmi_stack_top: u8;
    static machine_check_stack_top: u8;
}

/// The boot CPU's.
static BOOT: Descriptors = Descriptors::new();
mm::percpu! {
    /// Another CPU's.
    static DESCRIPTORS: Descriptors = Descriptors::new();
}
static GATES: Once<[Gate; VECTORS]> = Once::new();

/// What one CPU has of its own.
struct Descriptors {
    task_state: Once<TaskStateSegment>,
    segments: Once<(GlobalDescriptorTable, Selectors)>,
}

struct Selectors {
    code: SegmentSelector,
    data: SegmentSelector,
    task_state: SegmentSelector,
}

/// A gate of the interrupt descriptor table in its 64-bit form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(16))]
struct Gate([u64; 2]);

impl Gate {
    /// An interrupt gate for the kernel only. `stack` is a stack of the task state, 0 for the current one.
    const fn new(handler: u64, code: u16, stack: u8) -> Self {
        const PRESENT_INTERRUPT_GATE: u64 = 0x8e << 40;
        let low = handler & 0xffff
            | (code as u64) << 16
            | (stack as u64 & 7) << 32
            | PRESENT_INTERRUPT_GATE
            | (handler >> 16 & 0xffff) << 48;
        Self([low, handler >> 32])
    }
}

/// Loads the boot CPU's tables, with the stacks of the image.
pub(super) fn load_boot() {
    let stacks = [&raw const double_fault_stack_top, &raw const nmi_stack_top, &raw const machine_check_stack_top];
    // SAFETY: a static, used by the boot CPU alone.
    unsafe { BOOT.load(stacks.map(|top| VirtAddr::new(top.addr() as u64))) };
}

/// Loads this CPU's own tables.
pub(super) fn load_secondary(stacks: [VirtAddr; TRAP_STACKS]) {
    let pin = Native.pin();
    // SAFETY: this CPU's area is its own, and stays.
    unsafe { DESCRIPTORS.get(&pin).load(stacks) };
}

impl Descriptors {
    const fn new() -> Self {
        Self { task_state: Once::new(), segments: Once::new() }
    }

    /// Loads these tables and the gates on the CPU that asks.
    ///
    /// # Safety
    /// They stay where they are for good, and no other CPU uses them. It is done once.
    unsafe fn load(&self, stacks: [VirtAddr; TRAP_STACKS]) {
        let task_state = self.task_state.call_once(|| {
            let mut state = TaskStateSegment::new();
            // The structure is packed: its table is filled as a whole.
            let mut table = state.interrupt_stack_table;
            for (slot, top) in table.iter_mut().zip(stacks) {
                *slot = x86_64::VirtAddr::new_truncate(top.as_u64());
            }
            state.interrupt_stack_table = table;
            state
        });
        // SAFETY: the task state stays for good, as the caller says.
        let (segments, selectors) = self.segments.call_once(|| unsafe { segments(task_state) });
        // SAFETY: the table stays for good and nobody changes it. The selectors name descriptors of it: 64-bit code,
        // data, and a task state that stays too and is not busy yet. GS, whose base is the CPU's, is not loaded.
        unsafe {
            segments.load_unsafe();
            CS::set_reg(selectors.code);
            SS::set_reg(selectors.data);
            DS::set_reg(selectors.data);
            ES::set_reg(selectors.data);
            load_tss(selectors.task_state);
        }
        load_gates(selectors.code);
    }
}

/// The segments of a CPU with this task state.
///
/// # Safety
/// The task state can be read, and stays where it is as long as the table is loaded.
unsafe fn segments(task_state: *const TaskStateSegment) -> (GlobalDescriptorTable, Selectors) {
    let mut table = GlobalDescriptorTable::new();
    let code = table.append(Descriptor::kernel_code_segment());
    let data = table.append(Descriptor::kernel_data_segment());
    // SAFETY: the caller's promise.
    let task_state = table.append(unsafe { Descriptor::tss_segment_unchecked(task_state) });
    (table, Selectors { code, data, task_state })
}

/// Loads the gates, which lead to the stubs in code segment `code`: the same on every CPU.
fn load_gates(code: SegmentSelector) {
    let gates = GATES.call_once(|| {
        let first = (&raw const trap_stubs).addr() as u64;
        let mut gates = [Gate([0; 2]); VECTORS];
        for (stub, (vector, gate)) in (0..).map(|n| first + n * STUB_BYTES).zip(gates.iter_mut().enumerate()) {
            let stack = OWN_STACKS.iter().find(|(of, _)| *of == vector).map_or(0, |&(_, stack)| stack);
            *gate = Gate::new(stub, code.0, stack);
        }
        gates
    });
    let pointer = DescriptorTablePointer {
        limit: (size_of_val(gates) - 1) as u16,
        base: x86_64::VirtAddr::new_truncate(gates.as_ptr().addr() as u64),
    };
    // SAFETY: the table lives as long as the kernel, and each gate leads to a stub that keeps the calling convention of
    // its vector, in the code segment just loaded.
    unsafe { lidt(&pointer) };
}

#[cfg(test)]
mod tests {
    use super::*;

    // The boot table of entry.s has code and data at the same places, so a frame looks the same before and after.
    #[test]
    fn segments_as_the_manual_draws_them() {
        let task_state = TaskStateSegment::new();
        // SAFETY: the task state stays while this runs, and the table is never loaded.
        let (table, selectors) = unsafe { segments(&raw const task_state) };
        assert_eq!([selectors.code.0, selectors.data.0, selectors.task_state.0], [0x08, 0x10, 0x18]);
        let entries: Vec<u64> = table.entries().iter().map(|entry| entry.raw()).collect();
        let at = (&raw const task_state).addr() as u64;
        // 64-bit code, data, and an available task state of 104 bytes.
        let low = 0x0000_8900_0000_0067 | (at & 0xff_ffff) << 16 | (at >> 24 & 0xff) << 56;
        assert_eq!(entries, [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, low, at >> 32]);
    }

    #[test]
    fn gates_as_the_manual_draws_them() {
        let gate = Gate::new(0xffff_ffff_8020_1230, 0x08, 1);
        assert_eq!(gate.0, [0x8020_8e01_0008_1230, 0xffff_ffff]);
    }
}
