//! GICv2. Offsets and values are spelled out as Arm IHI 0048B has them.

use super::super::IrqError;
use super::super::gic2::Gic2;
use super::{Device, Model, Registers};
use std::vec::Vec;

/// The distributor as one CPU sees it, of up to `lines` words of interrupts.
struct Distributor {
    /// Bit of the CPU that looks.
    own: u8,
    present: bool,
    enabled: [u32; 32],
    signals: Vec<u32>,
}

impl Device for Distributor {
    fn answers(&self, _: u64) -> bool {
        self.present
    }

    fn read(&mut self, registers: &mut Registers, offset: u64) -> u32 {
        match offset {
            // Targets of the CPU's own interrupts: its own bit in each byte.
            0x800..0x820 => u32::from_le_bytes([self.own; 4]),
            _ => registers.get(offset),
        }
    }

    fn write(&mut self, registers: &mut Registers, offset: u64, value: u32) {
        match offset {
            0x100..0x180 => self.enabled[(offset as usize - 0x100) / 4] |= value,
            0x180..0x200 => self.enabled[(offset as usize - 0x180) / 4] &= !value,
            0xf00 => self.signals.push(value),
            _ => drop(registers.values.insert(offset, value)),
        }
    }
}

/// A CPU interface with a queue of what waits.
#[derive(Default)]
struct Interface {
    waiting: Vec<u32>,
    ended: Vec<u32>,
}

impl Device for Interface {
    fn read(&mut self, registers: &mut Registers, offset: u64) -> u32 {
        match offset {
            0x0c => self.waiting.pop().unwrap_or(1023),
            _ => registers.get(offset),
        }
    }

    fn write(&mut self, registers: &mut Registers, offset: u64, value: u32) {
        match offset {
            0x10 => self.ended.push(value),
            _ => drop(registers.values.insert(offset, value)),
        }
    }
}

type Machine = Gic2<Either>;

/// Both blocks have one type.
#[derive(Clone)]
enum Either {
    Distributor(Model<Distributor>),
    Interface(Model<Interface>),
}

impl super::Block for Either {
    fn size(&self) -> u64 {
        match self {
            Self::Distributor(model) => model.size(),
            Self::Interface(model) => model.size(),
        }
    }

    fn probe(&self, offset: u64) -> Option<u32> {
        match self {
            Self::Distributor(model) => model.probe(offset),
            Self::Interface(model) => model.probe(offset),
        }
    }

    fn read(&self, offset: u64) -> u32 {
        match self {
            Self::Distributor(model) => model.read(offset),
            Self::Interface(model) => model.read(offset),
        }
    }

    fn write(&self, offset: u64, value: u32) {
        match self {
            Self::Distributor(model) => model.write(offset, value),
            Self::Interface(model) => model.write(offset, value),
        }
    }
}

/// A GIC whose firmware left everything on, with `words` words of interrupts, as the CPU with the bit `own` sees it.
fn machine(own: u8, words: u32) -> (Machine, Model<Distributor>, Model<Interface>) {
    let mut enabled = [0; 32];
    enabled[..words as usize].fill(u32::MAX);
    let distributor = Model::new(0x1000, Distributor { own, present: true, enabled, signals: Vec::new() });
    distributor.set(0x004, words - 1);
    distributor.set(0xc04, 0xffff_ffff);
    let interface = Model::new(0x100, Interface::default());
    interface.set(0x00, 0x1e1);
    interface.set(0xd0, 0x8000_0000);
    let gic = Gic2 {
        distributor: Either::Distributor(distributor.clone()),
        cpu_interface: Either::Interface(interface.clone()),
    };
    (gic, distributor, interface)
}

#[test]
fn only_the_signal_and_the_timer_stay_on() {
    let (gic, distributor, interface) = machine(1 << 5, 9);
    assert_eq!(gic.init(), Ok(()));
    assert_eq!(distributor.get(0x000), 1);
    let target = gic.init_cpu(27);
    let enabled = distributor.inner.borrow().1.enabled;
    assert_eq!(enabled[0], 1 << 27 | 1);
    assert!(enabled[1..].iter().all(|&word| word == 0), "{enabled:x?}");
    // The fifth CPU's bit, signal 0.
    assert_eq!(target, 0x0020_0000);
    // Level: both bits of interrupt 27 are clear, all others as they were.
    assert_eq!(distributor.get(0xc04), 0xff3f_ffff);
    assert!((0x400..0x420).step_by(4).all(|at| distributor.get(at) == 0xa0a0_a0a0));
    assert_eq!((interface.get(0x04), interface.get(0xd0)), (0xf0, 0));
    // On, one write ends an interrupt, and the bypass is the firmware's.
    assert_eq!(interface.get(0x00), 0x1e1);
}

#[test]
fn the_distributor_is_off_while_it_is_changed() {
    let (gic, distributor, _) = machine(1, 2);
    gic.init().expect("a GIC");
    let writes = distributor.writes();
    assert_eq!(writes.first(), Some(&(0x000, 0)));
    assert_eq!(writes.last(), Some(&(0x000, 1)));
    assert!(writes[1..writes.len() - 1].iter().all(|&(offset, _)| offset != 0));
}

#[test]
fn signals_name_the_cpu_by_its_own_bit() {
    for cpu in 0..8 {
        let (gic, distributor, _) = machine(1 << cpu, 1);
        let target = gic.init_cpu(30);
        gic.send(target);
        // Target list in bits 16 to 23, filter 0 ("as the list says"), interrupt 0.
        assert_eq!(distributor.inner.borrow().1.signals, [1 << (16 + cpu)]);
    }
    // A GIC for one CPU reads its targets as zero.
    assert_eq!(machine(0, 1).0.init_cpu(27), 1 << 16);
}

#[test]
fn what_is_taken_is_ended_with_its_sender() {
    let (gic, _, interface) = machine(1, 1);
    // Signal 0 from CPU 3, above it the timer.
    interface.inner.borrow_mut().1.waiting = [3 << 10, 27].to_vec();
    assert_eq!(gic.acknowledge(), (27, 27));
    gic.end(27);
    let (taken, number) = gic.acknowledge();
    assert_eq!(number, 0);
    gic.end(taken);
    assert_eq!(gic.acknowledge().1, 1023);
    assert_eq!(interface.inner.borrow().1.ended, [27, 3 << 10]);
}

#[test]
fn an_interrupt_is_masked_by_its_number() {
    let (gic, distributor, _) = machine(1, 32);
    gic.mask(1019);
    gic.mask(16);
    let enabled = distributor.inner.borrow().1.enabled;
    assert_eq!((enabled[31], enabled[0]), (!(1 << 27), !(1 << 16)));
}

#[test]
fn where_nothing_answers_nothing_is_used() {
    let (gic, distributor, _) = machine(1, 1);
    distributor.inner.borrow_mut().1.present = false;
    assert_eq!(gic.init(), Err(IrqError::NoAnswer));
    distributor.inner.borrow_mut().1.present = true;
    // A bus that answers every read of nothing.
    distributor.set(0x004, u32::MAX);
    assert_eq!(gic.init(), Err(IrqError::NoAnswer));
    assert_eq!(distributor.writes(), []);
}
