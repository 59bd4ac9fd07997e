//! What one local APIC can make another CPU do: the command register's low half (Intel's manual, volume 3, "Interrupt
//! Command Register"; Linux: `asm/apicdef.h`, `__prepare_ICR`).
//!
//! Every message goes to one CPU by its physical number. `INIT` is sent as an edge: the level that old APICs wanted to
//! be taken back is not known to any CPU with 64 bits.

/// A message to another CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    /// An interrupt.
    Interrupt {
        /// Its vector.
        vector: u8,
    },
    /// Back to the state after reset, then wait for STARTUP.
    Init,
    /// Begin, in real mode.
    Startup {
        /// The number of the page where.
        page: u8,
    },
}

impl Message {
    /// The low half of the command register.
    pub(super) const fn command(self) -> u32 {
        const INIT: u32 = 5 << 8;
        const STARTUP: u32 = 6 << 8;
        /// Ignored by what is an edge, and always written with it.
        const ASSERT: u32 = 1 << 14;
        match self {
            Self::Interrupt { vector } => ASSERT | vector as u32,
            Self::Init => ASSERT | INIT,
            Self::Startup { page } => ASSERT | STARTUP | page as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Message;

    // The values of the manual's example ("Typical BSP Initialization Sequence"), less the destination shorthand.
    #[test]
    fn commands_of_the_manual() {
        assert_eq!(Message::Init.command(), 0x4500);
        assert_eq!(Message::Startup { page: 0x9c }.command(), 0x469c);
        assert_eq!(Message::Interrupt { vector: 0xfd }.command(), 0x40fd);
    }
}
