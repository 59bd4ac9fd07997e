//! Drivers against models of their devices, written from the manuals' register tables; their names; and the choice of a
//! console.

mod armada;
mod bcm_mini;
mod cadence;
mod choice;
mod geni;
mod imx;
mod lpuart;
mod meson;
mod msm_uartdm;
mod names;
mod ns16550;
mod pl011;
mod scif;

use super::*;
use core::fmt::Write;
use std::collections::VecDeque;

const COM1: ConsoleSpec = ConsoleSpec::ns16550_io(0x3f8);
const PL011: ConsoleSpec = ConsoleSpec::pl011(mm::addr::PhysAddr::new(0x900_0000));

/// What the device of `spec` got, until there is no more.
fn received(spec: &ConsoleSpec, registers: &mut impl Registers) -> Vec<u8> {
    let mut uart = Uart::new(spec, registers);
    std::iter::from_fn(|| uart.get()).collect()
}

/// A bus where nobody answers.
struct Nobody(u32);

impl Registers for Nobody {
    fn read(&mut self, _: u32) -> u32 {
        self.0
    }
    fn write(&mut self, _: u32, _: u32) {}
}

#[test]
fn an_absent_device_of_any_kind_is_noticed() {
    for kind in UartKind::all() {
        let spec = ConsoleSpec { kind, ..COM1 };
        for value in [0, 0xff, 0xffff, u32::MAX] {
            assert!(!Uart::new(&spec, Nobody(value)).probe(), "{kind:?} {value:#x}");
        }
    }
}

#[test]
fn no_device_of_any_kind_makes_anybody_wait_for_ever() {
    for kind in UartKind::all() {
        for value in [0, 0xff, 0x5555_5555, 0xaaaa_aaaa, u32::MAX] {
            let mut uart = Uart::new(&ConsoleSpec { kind, ..COM1 }, Nobody(value));
            uart.init();
            uart.put(b'x');
            let _ = uart.get();
        }
    }
    assert_eq!(Uart::new(&COM1, Nobody(0xff)).get(), None, "where nobody answers there is no endless input");
}

#[test]
fn windows_place_registers() {
    assert_eq!(Window::Io { base: 0x3f8 }.offset(5), 5);
    let base = mm::addr::PhysAddr::new(0);
    assert_eq!(Window::mmio32(base).offset(0xfe0 / 4), 0xfe0);
    assert_eq!(Window::Mmio { base, shift: 0, width: Width::Bits8 }.offset(7), 7);
}
