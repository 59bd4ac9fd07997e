//! One CPU's local APIC, by either of its two interfaces.
//!
//! The older one (xAPIC) is a page of registers, 16 bytes apart, at an address that is the same on every CPU; CPUs have
//! 8-bit numbers. The newer one (x2APIC) has the same registers as model-specific ones, 32-bit numbers, and a command
//! register that is written in one piece and is never busy. What the registers mean is the same, so this file knows
//! both, over a [`Bus`] that does nothing but reach memory and model-specific registers; the tests have a model behind
//! it that refuses what the manual forbids. Intel's manual, volume 3, "Advanced Programmable Interrupt Controller";
//! Linux: `arch/x86/kernel/apic/apic.c`, `ipi.c`, `x2apic_phys.c`.

use super::message::Message;
use super::{ERROR, SPURIOUS, TIMER};
use core::fmt;
use mm::addr::PhysAddr;

/// Where the page is, and which interface is on.
const IA32_APIC_BASE: u32 = 0x1b;
const ENABLED: u64 = 1 << 11;
const EXTENDED: u64 = 1 << 10;
const BASE: u64 = 0x000f_ffff_ffff_f000;

/// The model-specific register of the one at offset 0; one number for each 16 bytes.
const X2APIC_MSRS: u32 = 0x800;

/// How to reach the registers of the CPU that asks.
pub(super) trait Bus: Copy {
    /// The 32 bits at `offset` in the page.
    fn load(self, offset: u32) -> u32;
    /// Writes them.
    fn store(self, offset: u32, value: u32);
    /// A model-specific register.
    fn read_msr(self, number: u32) -> u64;
    /// Writes it, after everything that this CPU has written before is seen by others.
    fn write_msr(self, number: u32, value: u64);
}

/// Which interface is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Interface {
    /// A page of memory.
    XApic,
    /// Model-specific registers.
    X2Apic,
}

/// A register, by its offset in the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Register(u32);

const ID: Register = Register(0x20);
const TASK_PRIORITY: Register = Register(0x80);
const END_OF_INTERRUPT: Register = Register(0xb0);
const SPURIOUS_VECTOR: Register = Register(0xf0);
/// The first of eight: a bit for each vector that is being handled.
const IN_SERVICE: u32 = 0x100;
const ERROR_STATUS: Register = Register(0x280);
const COMMAND: Register = Register(0x300);
const COMMAND_TO: Register = Register(0x310);
const LOCAL_TIMER: Register = Register(0x320);
const LOCAL_PIN_0: Register = Register(0x350);
const LOCAL_ERROR: Register = Register(0x370);
const INITIAL_COUNT: Register = Register(0x380);
const CURRENT_COUNT: Register = Register(0x390);
const DIVIDE: Register = Register(0x3e0);

/// In [`SPURIOUS_VECTOR`]: the APIC is on.
const SOFTWARE_ENABLE: u32 = 1 << 8;
/// In a local vector: nothing comes.
const MASKED: u32 = 1 << 16;
/// In [`COMMAND`], xAPIC only: the last message is still on its way.
const PENDING: u32 = 1 << 12;
/// Count at the speed of the bus.
const DIVIDE_BY_1: u32 = 0b1011;
/// How often the command register is looked at before it is taken for stuck: each look takes 100 ns or more.
const LOOKS: u32 = 100_000;

/// Why a message was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// The local APIC is not in use yet.
    NotReady,
    /// The number needs an x2APIC, which the CPU does not offer.
    Unreachable(u32),
    /// The message before is still on its way.
    Busy,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady => f.write_str("the local APIC is not in use"),
            Self::Unreachable(id) => write!(f, "an xAPIC does not reach APIC id {id:#x}"),
            Self::Busy => f.write_str("the local APIC does not get rid of the message before"),
        }
    }
}

impl core::error::Error for SendError {}

/// Where the CPU has its page, and whether it is on at all.
pub(super) fn base(bus: impl Bus) -> Option<PhysAddr> {
    let base = bus.read_msr(IA32_APIC_BASE);
    (base & ENABLED != 0).then(|| PhysAddr::new(base & BASE))
}

/// Whether firmware has turned the newer interface on. There is no way back but by a reset.
pub(super) fn is_extended(bus: impl Bus) -> bool {
    bus.read_msr(IA32_APIC_BASE) & EXTENDED != 0
}

/// The local APIC of the CPU that asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalApic<B> {
    bus: B,
    interface: Interface,
}

impl<B: Bus> LocalApic<B> {
    pub(super) const fn new(bus: B, interface: Interface) -> Self {
        Self { bus, interface }
    }

    pub(super) const fn interface(self) -> Interface {
        self.interface
    }

    fn read(self, register: Register) -> u32 {
        match self.interface {
            Interface::XApic => self.bus.load(register.0),
            Interface::X2Apic => self.bus.read_msr(X2APIC_MSRS + register.0 / 16) as u32,
        }
    }

    fn write(self, register: Register, value: u32) {
        match self.interface {
            Interface::XApic => self.bus.store(register.0, value),
            Interface::X2Apic => self.bus.write_msr(X2APIC_MSRS + register.0 / 16, value.into()),
        }
    }

    /// Makes it ready on this CPU: interrupts from other CPUs and from itself come, none from pins. The timer is still.
    pub(super) fn enable(self) {
        if self.interface == Interface::X2Apic && !is_extended(self.bus) {
            let base = self.bus.read_msr(IA32_APIC_BASE);
            self.bus.write_msr(IA32_APIC_BASE, base | ENABLED | EXTENDED);
        }
        self.write(SPURIOUS_VECTOR, SOFTWARE_ENABLE | u32::from(SPURIOUS));
        self.write(TASK_PRIORITY, 0);
        // The legacy controllers' pin. The other one is for NMIs, and stays as the firmware has it.
        self.write(LOCAL_PIN_0, MASKED);
        self.stop_timer();
        self.write(ERROR_STATUS, 0);
        self.write(LOCAL_ERROR, ERROR.into());
    }

    /// The number of the CPU that asks.
    pub(super) fn id(self) -> u32 {
        let id = self.read(ID);
        match self.interface {
            Interface::XApic => id >> 24,
            Interface::X2Apic => id,
        }
    }

    /// Whether a message can be sent to the CPU of number `id`.
    pub(super) const fn reaches(self, id: u32) -> Result<(), SendError> {
        let greatest = match self.interface {
            // All ones is everybody.
            Interface::XApic => 0xfe,
            Interface::X2Apic => u32::MAX - 1,
        };
        if id <= greatest { Ok(()) } else { Err(SendError::Unreachable(id)) }
    }

    /// Sends `message` to the CPU of number `to`. To be called with interrupts off: the older interface takes two
    /// writes.
    pub(super) fn send(self, to: u32, message: Message) -> Result<(), SendError> {
        self.reaches(to)?;
        let command = message.command();
        match self.interface {
            Interface::XApic => {
                if !(0..LOOKS).any(|_| self.read(COMMAND) & PENDING == 0) {
                    return Err(SendError::Busy);
                }
                self.write(COMMAND_TO, to << 24);
                self.write(COMMAND, command);
            }
            Interface::X2Apic => {
                self.bus.write_msr(X2APIC_MSRS + COMMAND.0 / 16, u64::from(to) << 32 | u64::from(command));
            }
        }
        Ok(())
    }

    /// The handler of the interrupt in service has begun: others may come as soon as it is over.
    pub(super) fn end_of_interrupt(self) {
        self.write(END_OF_INTERRUPT, 0);
    }

    /// Whether this APIC has delivered `vector` and waits for the end of that interrupt.
    pub(super) fn is_in_service(self, vector: u8) -> bool {
        let register = Register(IN_SERVICE + u32::from(vector / 32) * 16);
        self.read(register) & 1 << (vector % 32) != 0
    }

    /// What went wrong since the last time, a bit for each kind.
    pub(super) fn take_errors(self) -> u32 {
        self.write(ERROR_STATUS, 0);
        self.read(ERROR_STATUS)
    }

    /// Lets the timer count down from `count`, and interrupt at 0.
    pub(super) fn start_timer(self, count: u32) {
        self.write(LOCAL_TIMER, TIMER.into());
        self.write(DIVIDE, DIVIDE_BY_1);
        self.write(INITIAL_COUNT, count);
    }

    /// Lets the timer count down from its greatest count, silently: to see how fast it is.
    pub(super) fn start_silent_timer(self) {
        self.write(LOCAL_TIMER, MASKED | u32::from(TIMER));
        self.write(DIVIDE, DIVIDE_BY_1);
        self.write(INITIAL_COUNT, u32::MAX);
    }

    /// What is left of the count.
    pub(super) fn timer_count(self) -> u32 {
        self.read(CURRENT_COUNT)
    }

    /// Stops the timer. An interrupt that it has raised may still come.
    pub(super) fn stop_timer(self) {
        self.write(LOCAL_TIMER, MASKED | u32::from(TIMER));
        self.write(INITIAL_COUNT, 0);
    }
}

#[cfg(test)]
#[path = "model.rs"]
mod model;
