//! Device registers behind I/O ports or in mapped memory, for the drivers in `platform`; and the ports of memory slots.

use crate::Native;
use crate::paging::map_device;
use crate::port;
use mm::addr::VirtAddr;
use mm::arch::PhysMap;
use platform::console::{Registers, Width, Window};
use platform::slots::{MemorySlots, Ports};

/// Bytes that a device in memory is given: what a PL011's identification needs, and a page anyway.
const DEVICE_BYTES: u64 = 4096;

/// The registers of one device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceRegisters {
    window: Window,
    /// Where a window in memory is mapped; of ports, nothing.
    mapped: VirtAddr,
}

impl DeviceRegisters {
    /// Access to `window`, mapped for good. `None` when it cannot be mapped, or when an access would be misaligned.
    #[must_use]
    pub fn open(window: Window) -> Option<Self> {
        let mapped = match window {
            Window::Io { .. } => VirtAddr::new(0),
            Window::Mmio { base, .. } if window.is_aligned() => map_device(base, DEVICE_BYTES)?,
            Window::Mmio { .. } => return None,
        };
        Some(Self { window, mapped })
    }

    /// The port of register `register`, where it is one.
    fn port(&self, register: u32) -> Option<u16> {
        match self.window {
            Window::Io { base } => base.checked_add(u16::try_from(self.window.offset(register)).ok()?),
            Window::Mmio { .. } => None,
        }
    }

    /// Where register `register` is mapped and how wide it is, where it is in memory.
    fn memory(&self, register: u32) -> Option<(*mut u8, Width)> {
        let Window::Mmio { width, .. } = self.window else { return None };
        let offset = self.window.offset(register);
        (offset <= DEVICE_BYTES - 4).then(|| (Native.virt_ptr(self.mapped.saturating_add(offset)), width))
    }
}

/// The ports of memory slots, and no others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotPorts {
    pub(crate) base: u16,
}

impl SlotPorts {
    fn has(self, port: u16) -> bool {
        port.checked_sub(self.base).is_some_and(|offset| offset <= MemorySlots::LENGTH - 4)
    }
}

impl Ports for SlotPorts {
    fn read(&mut self, port: u16) -> u32 {
        if !self.has(port) {
            return u32::MAX;
        }
        // SAFETY: the firmware's own code names these ports as registers that describe memory; reading one does
        // nothing.
        unsafe { port::read_u32(port) }
    }

    fn write(&mut self, port: u16, value: u32) {
        if self.has(port) {
            // SAFETY: as in `read`; `platform` writes the selector alone, which changes what the others show.
            unsafe { port::write_u32(port, value) };
        }
    }
}

impl Registers for DeviceRegisters {
    fn read(&mut self, register: u32) -> u32 {
        if let Some(port) = self.port(register) {
            // SAFETY: whoever named this port names it as a serial device, which does not touch memory.
            return unsafe { port::read_u8(port) }.into();
        }
        let Some((at, width)) = self.memory(register) else { return 0 };
        // SAFETY: the register lies inside the pages mapped for this device, at its natural alignment, as `open`
        // checked.
        let value = unsafe {
            match width {
                Width::Bits8 => at.read_volatile().into(),
                Width::Bits16 => at.cast::<u16>().read_volatile().into(),
                Width::Bits32 | Width::Bits32Big => at.cast::<u32>().read_volatile(),
            }
        };
        width.on_the_bus(value)
    }

    fn write(&mut self, register: u32, value: u32) {
        if let Some(port) = self.port(register) {
            // SAFETY: as in `read`. The registers are 8 bits wide.
            return unsafe { port::write_u8(port, value as u8) };
        }
        let Some((at, width)) = self.memory(register) else { return };
        let value = width.on_the_bus(value);
        // SAFETY: as in `read`.
        unsafe {
            match width {
                Width::Bits8 => at.write_volatile(value as u8),
                Width::Bits16 => at.cast::<u16>().write_volatile(value as u16),
                Width::Bits32 | Width::Bits32Big => at.cast::<u32>().write_volatile(value),
            }
        }
    }
}
