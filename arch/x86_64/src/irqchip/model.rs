//! A local APIC as the manual describes it, with both interfaces; it refuses what would fault or do nothing.

use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A command register, as it was written: destination, command.
type Sent = (u32, u32);

#[derive(Debug)]
struct State {
    base: u64,
    id: u32,
    offers_x2apic: bool,
    registers: BTreeMap<u32, u32>,
    sent: Vec<Sent>,
    /// For how many looks a message stays on its way.
    slowness: u32,
    pending: u32,
    ended: u32,
}

#[derive(Clone, Copy, Debug)]
struct Model<'m>(&'m RefCell<State>);

fn state(base: u64, id: u32) -> RefCell<State> {
    RefCell::new(State {
        base,
        id,
        offers_x2apic: true,
        registers: BTreeMap::new(),
        sent: Vec::new(),
        slowness: 0,
        pending: 0,
        ended: 0,
    })
}

impl State {
    fn write(&mut self, offset: u32, value: u32) {
        match offset {
            0xb0 => {
                assert_eq!(value, 0, "the end of an interrupt is written as 0");
                self.ended += 1;
            }
            0x280 => assert_eq!(value, 0, "an x2APIC faults on any other value"),
            0x20 | 0x30 | 0x100..=0x270 | 0x390 => panic!("{offset:#x} cannot be written"),
            _ => _ = self.registers.insert(offset, value),
        }
    }

    fn read(&self, offset: u32) -> u32 {
        assert_ne!(offset, 0xb0, "the end of an interrupt cannot be read");
        self.registers.get(&offset).copied().unwrap_or(0)
    }
}

impl Bus for Model<'_> {
    fn load(self, offset: u32) -> u32 {
        let mut state = self.0.borrow_mut();
        assert_eq!(state.base & EXTENDED, 0, "no page in this mode");
        match offset {
            0x20 => state.id << 24,
            0x300 if state.pending > 0 => {
                state.pending -= 1;
                PENDING
            }
            _ => state.read(offset),
        }
    }

    fn store(self, offset: u32, value: u32) {
        let mut state = self.0.borrow_mut();
        assert_eq!(state.base & EXTENDED, 0, "no page in this mode");
        if offset == 0x300 {
            assert_eq!(state.pending, 0, "the message before is still on its way");
            let to = state.read(0x310) >> 24;
            state.sent.push((to, value));
            state.pending = state.slowness;
        } else {
            state.write(offset, value);
        }
    }

    fn read_msr(self, number: u32) -> u64 {
        let state = self.0.borrow();
        match number {
            IA32_APIC_BASE => state.base,
            0x802 => state.id.into(),
            0x800..=0x8ff => {
                assert_ne!(state.base & EXTENDED, 0, "only in this mode");
                state.read((number - 0x800) * 16).into()
            }
            _ => panic!("{number:#x} is not the APIC's"),
        }
    }

    fn write_msr(self, number: u32, value: u64) {
        let mut state = self.0.borrow_mut();
        match number {
            IA32_APIC_BASE => {
                assert!(state.base & ENABLED != 0 && state.offers_x2apic, "this change faults");
                assert_eq!(value & BASE, state.base & BASE, "the page moves");
                state.base = value;
            }
            0x830 => state.sent.push(((value >> 32) as u32, value as u32)),
            0x831 => panic!("there is no second half in this mode"),
            0x800..=0x8ff => {
                assert_ne!(state.base & EXTENDED, 0, "only in this mode");
                let value = u32::try_from(value).expect("the upper half is reserved");
                state.write((number - 0x800) * 16, value);
            }
            _ => panic!("{number:#x} is not the APIC's"),
        }
    }
}

const AT_RESET: u64 = 0xfee0_0000 | ENABLED;

fn each_interface(test: impl Fn(LocalApic<Model<'_>>, &RefCell<State>)) {
    for interface in [Interface::XApic, Interface::X2Apic] {
        let state = state(AT_RESET, 7);
        let apic = LocalApic::new(Model(&state), interface);
        apic.enable();
        test(apic, &state);
    }
}

#[test]
fn enabled_it_takes_interrupts_and_none_from_the_legacy_pin() {
    each_interface(|apic, state| {
        let state = state.borrow();
        assert_eq!(state.read(0xf0), 0x1ff);
        assert_eq!(state.read(0x80), 0);
        assert_eq!(state.read(0x350), 0x1_0000);
        assert_eq!(state.read(0x320) & MASKED, MASKED);
        assert_eq!(state.read(0x370), 0xfe);
        assert_eq!(state.base & EXTENDED != 0, apic.interface() == Interface::X2Apic);
    });
}

#[test]
fn an_interface_that_the_firmware_has_turned_on_stays_on() {
    let mut state = state(AT_RESET | EXTENDED, 7);
    // A second change would fault in this model.
    state.get_mut().offers_x2apic = false;
    assert!(is_extended(Model(&state)));
    LocalApic::new(Model(&state), Interface::X2Apic).enable();
}

#[test]
fn the_base_is_told_only_while_it_is_on() {
    assert_eq!(base(Model(&state(0xfee0_0900, 0))), Some(PhysAddr::new(0xfee0_0000)));
    assert_eq!(base(Model(&state(0xfee0_0100, 0))), None);
}

#[test]
fn both_know_their_number() {
    each_interface(|apic, _| assert_eq!(apic.id(), 7));
}

#[test]
fn messages_reach_one_cpu() {
    each_interface(|apic, state| {
        apic.send(3, Message::Init).unwrap();
        apic.send(3, Message::Startup { page: 0x9e }).unwrap();
        apic.send(0xfe, Message::Interrupt { vector: 0xfd }).unwrap();
        assert_eq!(state.borrow().sent, [(3, 0x4500), (3, 0x469e), (0xfe, 0x40fd)]);
    });
}

#[test]
fn large_numbers_need_the_newer_interface_and_nobody_is_everybody() {
    each_interface(|apic, state| {
        let sent = apic.send(0x1234, Message::Init);
        if apic.interface() == Interface::X2Apic {
            assert_eq!((sent, &state.borrow().sent[..]), (Ok(()), &[(0x1234, 0x4500)][..]));
            assert_eq!(apic.reaches(0xff), Ok(()));
        } else {
            assert_eq!(sent, Err(SendError::Unreachable(0x1234)));
            assert_eq!(apic.reaches(0xff), Err(SendError::Unreachable(0xff)));
            assert!(state.borrow().sent.is_empty());
        }
        assert_eq!(apic.send(u32::MAX, Message::Init), Err(SendError::Unreachable(u32::MAX)));
    });
}

#[test]
fn a_message_waits_for_the_one_before_but_not_for_ever() {
    let state = state(AT_RESET, 0);
    state.borrow_mut().slowness = 100;
    let apic = LocalApic::new(Model(&state), Interface::XApic);
    assert_eq!(apic.send(1, Message::Init), Ok(()));
    assert_eq!(apic.send(2, Message::Init), Ok(()));
    state.borrow_mut().pending = u32::MAX;
    assert_eq!(apic.send(3, Message::Init), Err(SendError::Busy));
    assert_eq!(state.borrow().sent, [(1, 0x4500), (2, 0x4500)]);
}

#[test]
fn the_vector_in_service_is_known_and_ended() {
    each_interface(|apic, state| {
        state.borrow_mut().registers.insert(0x100 + 7 * 16, 1 << 29);
        assert!(apic.is_in_service(0xfd));
        assert!(!apic.is_in_service(0xfc));
        assert!(!apic.is_in_service(0x1d));
        apic.end_of_interrupt();
        assert_eq!(state.borrow().ended, 1);
    });
}

#[test]
fn the_timer_counts_once_with_its_vector_and_stops() {
    each_interface(|apic, state| {
        apic.start_timer(1000);
        assert_eq!([0x320, 0x3e0, 0x380].map(|offset| state.borrow().read(offset)), [0xec, 0b1011, 1000]);
        apic.start_silent_timer();
        assert_eq!([0x320, 0x380].map(|offset| state.borrow().read(offset)), [0x1_00ec, u32::MAX]);
        state.borrow_mut().registers.insert(0x390, 55);
        assert_eq!(apic.timer_count(), 55);
        apic.stop_timer();
        assert_eq!([0x320, 0x380].map(|offset| state.borrow().read(offset)), [0x1_00ec, 0]);
    });
}
