//! BCM2836. Offsets and values are spelled out as QA7 (rev 3.4) and the chapter "Interrupts" of "BCM2835 ARM
//! Peripherals" have them.

use super::super::IrqError;
use super::super::bcm2836::Bcm2836;
use super::{Device, Model, Registers};
use std::vec::Vec;

/// The local controller, with four CPUs around it.
#[derive(Default)]
struct Local {
    absent: bool,
    /// Lines of the CPUs' timers that are up, a bit each.
    timers: [u32; 4],
    mailboxes: [[u32; 4]; 4],
    /// The line of devices is up; it leads to the first CPU.
    devices: bool,
    /// Where the performance monitors' lines lead, a bit for each CPU's as IRQ, then as FIQ. They are up.
    monitors: u32,
}

impl Local {
    fn pending(&self, registers: &Registers, cpu: usize) -> u32 {
        let timers = self.timers[cpu] & registers.get(0x40 + 4 * cpu as u64) & 0xf;
        let rung = |mailbox: &usize| self.mailboxes[cpu][*mailbox] != 0;
        let mailboxes = (0..4).filter(rung).fold(0, |bits, mailbox| bits | 1 << mailbox);
        let mailboxes = mailboxes & registers.get(0x50 + 4 * cpu as u64) & 0xf;
        let monitor = self.monitors >> cpu & 1;
        // "AXI outstanding" with its enable bit, the local timer with its two; both lead to the first CPU.
        let bus = u32::from(cpu == 0 && registers.get(0x30) & 1 << 20 != 0);
        let shared = u32::from(cpu == 0 && registers.get(0x34) >> 28 & 3 == 3);
        timers | mailboxes << 4 | u32::from(self.devices && cpu == 0) << 8 | monitor << 9 | bus << 10 | shared << 11
    }
}

impl Device for Local {
    fn answers(&self, _: u64) -> bool {
        !self.absent
    }

    fn read(&mut self, registers: &mut Registers, offset: u64) -> u32 {
        match offset {
            0x60..0x70 => self.pending(registers, (offset as usize - 0x60) / 4),
            0x80..0xc0 => panic!("it can only be written"),
            0xc0..0x100 => self.mailboxes[(offset as usize - 0xc0) / 16][(offset as usize - 0xc0) % 16 / 4],
            _ => registers.get(offset),
        }
    }

    fn write(&mut self, registers: &mut Registers, offset: u64, value: u32) {
        match offset {
            0x10 => self.monitors |= value,
            0x14 => self.monitors &= !value,
            0x60..0x80 => panic!("it can only be read"),
            0x80..0xc0 => self.mailboxes[(offset as usize - 0x80) / 16][(offset as usize - 0x80) % 16 / 4] |= value,
            0xc0..0x100 => self.mailboxes[(offset as usize - 0xc0) / 16][(offset as usize - 0xc0) % 16 / 4] &= !value,
            _ => drop(registers.values.insert(offset, value)),
        }
    }
}

/// Both blocks have one type.
#[derive(Clone)]
enum Either {
    Local(Model<Local>),
    Devices(Model<Plain>),
}

/// Registers that keep what is written.
struct Plain;

impl Device for Plain {}

impl super::Block for Either {
    fn size(&self) -> u64 {
        match self {
            Self::Local(model) => model.size(),
            Self::Devices(model) => model.size(),
        }
    }

    fn probe(&self, offset: u64) -> Option<u32> {
        match self {
            Self::Local(model) => model.probe(offset),
            Self::Devices(model) => model.probe(offset),
        }
    }

    fn read(&self, offset: u64) -> u32 {
        match self {
            Self::Local(model) => model.read(offset),
            Self::Devices(model) => model.read(offset),
        }
    }

    fn write(&self, offset: u64, value: u32) {
        match self {
            Self::Local(model) => model.write(offset, value),
            Self::Devices(model) => model.write(offset, value),
        }
    }
}

fn machine() -> (Bcm2836<Either>, Model<Local>, Model<Plain>) {
    let local = Model::new(0x100, Local::default());
    let devices = Model::new(0x200, Plain);
    let chip = Bcm2836 { local: Either::Local(local.clone()), devices: Some(Either::Devices(devices.clone())) };
    (chip, local, devices)
}

#[test]
fn what_devices_want_is_turned_off() {
    let (chip, local, devices) = machine();
    assert_eq!(chip.init(), Ok(()));
    // "Disable IRQs 1", "2", "Disable Basic IRQs".
    assert_eq!(devices.writes(), [(0x1c, u32::MAX), (0x20, u32::MAX), (0x24, u32::MAX)]);
    // The counter's clock is the firmware's: not 0x00, 0x08.
    assert!(local.writes().iter().all(|(offset, _)| [0x14, 0x30, 0x34].contains(offset)), "{:x?}", local.writes());
    let alone = Bcm2836 { devices: None, ..chip };
    assert_eq!(alone.init(), Ok(()));
}

#[test]
fn what_firmware_left_on_in_the_controller_itself_is_turned_off() {
    let left_on = |local: &Model<Local>| {
        local.inner.borrow_mut().1.monitors = 0xff;
        local.set(0x30, 1 << 20 | 0x100);
        local.set(0x34, 3 << 28 | 0x100);
    };
    let (chip, local, _) = machine();
    left_on(&local);
    assert_eq!([chip.acknowledge(0), chip.acknowledge(3)], [9, 9], "the model has them");
    assert_eq!(chip.init(), Ok(()));
    assert_eq!([0, 1, 2, 3].map(|cpu| chip.acknowledge(cpu)), [1023; 4]);
    assert_eq!(local.inner.borrow().1.monitors, 0, "nor as FIQ");
    // One that is turned on later does not come for ever either.
    for number in 9..12 {
        left_on(&local);
        chip.mask(number, 0);
        assert_eq!(chip.acknowledge(0), 1023, "{number}");
    }
}

#[test]
fn only_the_signal_and_the_timer_are_on_and_none_as_fiq() {
    for cpu in 0..4 {
        let (chip, local, _) = machine();
        local.set(0x40 + 4 * cpu, 0xff);
        local.set(0x50 + 4 * cpu, 0xff);
        local.inner.borrow_mut().1.mailboxes[cpu as usize] = [1, 2, 3, 4];
        assert_eq!(chip.init_cpu(cpu, 3), Ok(0x80 + 0x10 * cpu as u32));
        assert_eq!((local.get(0x40 + 4 * cpu), local.get(0x50 + 4 * cpu)), (1 << 3, 1));
        assert_eq!(local.inner.borrow().1.mailboxes, [[0; 4]; 4]);
        let touched = |offset: u64| {
            [0x40 + 4 * cpu, 0x50 + 4 * cpu].contains(&offset) || (0xc0 + 16 * cpu..0xd0 + 16 * cpu).contains(&offset)
        };
        assert!(local.writes().iter().all(|&(offset, _)| touched(offset)), "other CPUs' registers");
    }
    let (chip, local, _) = machine();
    assert_eq!(chip.init_cpu(4, 3), Err(IrqError::NoLocalRegisters(4)));
    assert_eq!(local.writes(), []);
}

#[test]
fn a_signal_reaches_one_cpu_and_is_taken_once() {
    let (chip, _, _) = machine();
    let targets: Vec<u32> = (0..4).map(|cpu| chip.init_cpu(cpu, 3).expect("a CPU")).collect();
    for (to, target) in (0..).zip(targets) {
        chip.send(target);
        // Twice is once.
        chip.send(target);
        for cpu in 0..4 {
            assert_eq!(chip.acknowledge(cpu), if cpu == to { 4 } else { 1023 }, "from {to} to {cpu}");
        }
        assert_eq!(chip.acknowledge(to), 1023);
        chip.send(target);
        assert_eq!(chip.acknowledge(to), 4, "a new one");
    }
}

#[test]
fn a_timer_is_a_level_of_its_own_cpu() {
    let (chip, local, _) = machine();
    for cpu in 0..4 {
        chip.init_cpu(cpu, 3).expect("a CPU");
    }
    // All timers of CPU 2 want something; only the virtual one is heard.
    local.inner.borrow_mut().1.timers[2] = 0xf;
    assert_eq!([0, 1, 2, 3].map(|cpu| chip.acknowledge(cpu)), [1023, 1023, 3, 1023]);
    assert_eq!(chip.acknowledge(2), 3, "until it is silent");
    // The signal stands before it.
    chip.send(0x80 + 0x20);
    assert_eq!([chip.acknowledge(2), chip.acknowledge(2)], [4, 3]);
    local.inner.borrow_mut().1.timers[2] = 0;
    assert_eq!(chip.acknowledge(2), 1023);
}

#[test]
fn what_comes_nevertheless_is_masked() {
    let (chip, local, devices) = machine();
    chip.init_cpu(0, 3).expect("a CPU");
    local.set(0x40, 0xf);
    local.set(0x50, 0xf);
    chip.mask(1, 0);
    chip.mask(6, 0);
    assert_eq!((local.get(0x40), local.get(0x50)), (0xd, 0xb));
    local.inner.borrow_mut().1.devices = true;
    assert_eq!(chip.acknowledge(0), 8);
    chip.mask(8, 0);
    assert_eq!(devices.writes().len(), 3);
    assert_eq!((local.get(0x40), local.get(0x50)), (0xd, 0xb));
}

#[test]
fn where_nothing_answers_nothing_is_used() {
    let (chip, local, devices) = machine();
    local.inner.borrow_mut().1.absent = true;
    assert_eq!(chip.init(), Err(IrqError::NoAnswer));
    local.inner.borrow_mut().1.absent = false;
    local.set(0x00, u32::MAX);
    assert_eq!(chip.init(), Err(IrqError::NoAnswer));
    assert_eq!((local.writes(), devices.writes()), (Vec::new(), Vec::new()));
}
