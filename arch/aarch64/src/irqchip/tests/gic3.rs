//! GICv3. Offsets and values are spelled out as Arm IHI 0069 has them.

use super::super::IrqError;
use super::super::gic3::{CpuInterface, Gic3, target};
use super::{Block, Device, Model, Registers};
use arrayvec::ArrayVec;
use std::cell::Cell;
use std::vec::Vec;

/// Registers that a firmware left behind; `writes pending` is seen for some reads after each write of a control
/// register.
struct Frames {
    /// Bytes behind which nothing answers.
    end: u64,
    pending: u32,
    /// `CTLR.RWP` stays for ever.
    stuck: bool,
    /// The bit of RWP.
    rwp: u32,
}

impl Device for Frames {
    fn answers(&self, offset: u64) -> bool {
        offset < self.end
    }

    fn read(&mut self, registers: &mut Registers, offset: u64) -> u32 {
        let value = registers.get(offset);
        match offset & 0x1_ffff {
            0x0000 if self.stuck => value | self.rwp,
            0x0000 if self.pending > 0 => {
                self.pending -= 1;
                value | self.rwp
            }
            // ChildrenAsleep follows ProcessorSleep.
            0x0014 => value & !4 | value << 1 & 4,
            _ => value,
        }
    }

    fn write(&mut self, registers: &mut Registers, offset: u64, value: u32) {
        let clear_enable = match offset {
            0x180..0x200 => Some(offset - 0x80),
            _ if offset & 0x1_ffff == 0x1_0180 => Some(offset - 0x80),
            _ => None,
        };
        self.pending = 3;
        match clear_enable {
            Some(enable) => {
                let enabled = registers.get(enable);
                registers.values.insert(enable, enabled & !value);
            }
            None if offset & 0x1_ffff == 0x1_0100 => {
                let enabled = registers.get(offset);
                registers.values.insert(offset, enabled | value);
            }
            None => drop(registers.values.insert(offset, value)),
        }
    }
}

fn frames(size: u64, rwp: u32) -> Model<Frames> {
    Model::new(size, Frames { end: size, pending: 0, stuck: false, rwp })
}

/// The system registers.
#[derive(Default)]
struct System {
    on: Cell<bool>,
    forbidden: bool,
}

impl CpuInterface for System {
    fn init(&self) -> bool {
        self.on.set(!self.forbidden);
        !self.forbidden
    }
}

const GICR_3: u64 = 0x2_0000;
const GICR_4: u64 = 0x4_0000;

/// A range of redistributors at `stride`: each with its MPIDR affinity, the last one marked as such.
fn redistributors(size: u64, stride: u64, virtual_frames: bool, ids: &[u64]) -> Model<Frames> {
    let range = frames(size, 1 << 3);
    range.inner.borrow_mut().1.end = stride * ids.len() as u64;
    for (index, &id) in ids.iter().enumerate() {
        let at = stride * index as u64;
        let last = if index + 1 == ids.len() { 1 << 4 } else { 0 };
        range.set(at + 0x8, last | u32::from(virtual_frames) << 1);
        range.set(at + 0xc, ((id >> 32) << 24) as u32 | id as u32 & 0xff_ffff);
        range.set(at + 0x14, 0b110);
        range.set(at + 0xffe8, if virtual_frames { 0x4b } else { 0x3b });
        range.set(at + 0x1_0100, u32::MAX);
        range.set(at + 0x1_0c04, u32::MAX);
    }
    range
}

fn gic(ranges: &[Model<Frames>], stride: Option<u64>) -> Gic3<Model<Frames>, System> {
    let distributor = frames(0x1_0000, 1 << 31);
    distributor.set(0xffe8, 0x3b);
    distributor.set(0x0004, 0x0003_0008);
    (0x104..0x124).step_by(4).for_each(|at| distributor.set(at, u32::MAX));
    let ranges: ArrayVec<_, _> = ranges.iter().cloned().collect();
    Gic3 { distributor, ranges, stride, interface: System::default() }
}

#[test]
fn the_distributor_routes_by_affinity_and_passes_group_1() {
    let gic = gic(&[], None);
    assert_eq!(gic.init(), Ok(()));
    let distributor = &gic.distributor;
    // ARE, EnableGrp1A, EnableGrp1.
    assert_eq!(distributor.get(0), 0x13);
    assert!((0x104..0x124).step_by(4).all(|at| distributor.get(at) == 0), "an interrupt of a device is on");
    assert!((0x084..0x0a4).step_by(4).all(|at| distributor.get(at) == u32::MAX), "not all are in group 1");
    // Nine words of interrupts, of which the first is the redistributors'.
    assert!(distributor.writes().iter().all(|&(at, _)| at == 0 || at % 0x80 >= 4 && at % 0x80 <= 0x20));
}

#[test]
fn a_cpu_wakes_its_own_redistributor_and_no_other() {
    let range = redistributors(0xf6_0000, GICR_3, false, &[0x0, 0x1, 0x100]);
    let gic = gic(std::slice::from_ref(&range), None);
    assert_eq!(gic.init_cpu(0x100, 27), Ok(0x0000_0000_0001_0001));
    let own = 2 * GICR_3;
    assert_eq!(range.get(own + 0x14) & 2, 0);
    assert_eq!(range.get(own + 0x1_0080), u32::MAX);
    assert_eq!(range.get(own + 0x1_0100), 1 << 27 | 1);
    assert_eq!(range.get(own + 0x1_0c04), 0xff3f_ffff);
    assert!((0x400..0x420).step_by(4).all(|at| range.get(own + 0x1_0000 + at) == 0xa0a0_a0a0));
    assert!(range.writes().iter().all(|&(at, _)| at >= own));
    assert!(gic.interface.on.get());
}

#[test]
fn redistributors_are_found_in_every_range_and_by_both_strides() {
    let first = redistributors(0x10_0000, GICR_3, false, &[0x0, 0x1]);
    let second = redistributors(GICR_4 * 3, GICR_4, true, &[0x1_0000, 0x1_0001, 0x7f_0102_0304]);
    let gic = gic(&[first, second], None);
    let place = |id| gic.find(id).map(|found| (found.range.size, found.offset));
    assert_eq!(place(0x0), Some((0x10_0000, 0)));
    assert_eq!(place(0x1), Some((0x10_0000, GICR_3)));
    assert_eq!(place(0x1_0001), Some((GICR_4 * 3, GICR_4)));
    assert_eq!(place(0x7f_0102_0304), Some((GICR_4 * 3, 2 * GICR_4)));
    assert_eq!(place(0x2), None);
    assert_eq!(gic.init_cpu(0x2, 27), Err(IrqError::NoRedistributor(0x2)));
}

#[test]
fn a_stated_stride_is_used() {
    let range = redistributors(0x20_0000, 0x8_0000, false, &[0x0, 0x1, 0x2]);
    assert_eq!(gic(std::slice::from_ref(&range), Some(0x8_0000)).find(0x2).map(|found| found.offset), Some(0x10_0000));
    // One of nothing would never end.
    assert_eq!(gic(&[range], Some(0)).find(0x2).map(|found| found.offset), None);
}

#[test]
fn two_ranges_side_by_side_are_walked_as_one() {
    // The last one of the first range is not the last of all.
    let range = redistributors(4 * GICR_3, GICR_3, false, &[0x0, 0x1, 0x100, 0x101]);
    range.set(GICR_3 + 0x8, 1 << 4);
    assert_eq!(gic(&[range], None).find(0x101).map(|found| found.offset), Some(3 * GICR_3));
}

#[test]
fn a_range_without_redistributors_ends_the_walk() {
    // No bus error, and no end either: something else lies there.
    let other = frames(0x100_0000, 1 << 3);
    let good = redistributors(GICR_3, GICR_3, false, &[0x5]);
    let gic = gic(&[other, good], None);
    assert_eq!(gic.find(0x5).map(|found| found.range.size), Some(GICR_3));
    // A range that is too short for one is never read.
    let short = frames(0x1_0000, 1 << 3);
    assert_eq!(super::gic3::gic(&[short], None).find(0x5).map(|found| found.offset), None);
}

#[test]
fn the_signals_word_names_every_level_of_affinity() {
    // ICC_SGI1R_EL1: Aff3 at 48, RS at 44, Aff2 at 32, INTID at 24, Aff1 at 16, the list of sixteen at 0.
    assert_eq!(target(0x0), 0x0000_0000_0000_0001);
    assert_eq!(target(0xf), 0x0000_0000_0000_8000);
    assert_eq!(target(0x10), 0x0000_1000_0000_0001);
    assert_eq!(target(0x100), 0x0000_0000_0001_0001);
    assert_eq!(target(0x12_0034_56ff), 0x0012_f034_0056_8000);
    assert_eq!(target(0x101), 0x0000_0000_0001_0002);
}

#[test]
fn an_interrupt_is_masked_where_it_belongs() {
    let range = redistributors(2 * GICR_3, GICR_3, false, &[0x0, 0x1]);
    let gic = gic(std::slice::from_ref(&range), None);
    gic.mask(20, 0x1);
    assert_eq!((range.get(0x1_0100), range.get(GICR_3 + 0x1_0100)), (u32::MAX, !(1 << 20)));
    gic.mask(33, 0x1);
    assert_eq!(gic.distributor.get(0x104), !(1 << 1));
}

#[test]
fn what_does_not_answer_or_never_ends_is_an_error_or_a_delay() {
    let gic = gic(&[], None);
    gic.distributor.set(0xffe8, 0x2b);
    assert_eq!(gic.init(), Err(IrqError::Version { stated: 3, found: 2 }));
    gic.distributor.inner.borrow_mut().1.end = 0;
    assert_eq!(gic.init(), Err(IrqError::NoAnswer));
    assert_eq!(gic.distributor.writes(), Vec::new());
    // A write that never completes holds nothing up for good.
    gic.distributor.inner.borrow_mut().1 = Frames { end: 0x1_0000, pending: 0, stuck: true, rwp: 1 << 31 };
    gic.distributor.set(0xffe8, 0x3b);
    assert_eq!(gic.init(), Ok(()));
}

#[test]
fn a_cpu_whose_registers_are_kept_from_it_says_so() {
    let range = redistributors(GICR_3, GICR_3, false, &[0x0]);
    let mut gic = gic(&[range], None);
    gic.interface.forbidden = true;
    assert_eq!(gic.init_cpu(0x0, 27), Err(IrqError::NoSystemRegisters));
}
