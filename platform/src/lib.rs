//! What a machine says of itself: firmware tables, the boot loader's hand-over, the command line, consoles, boards.
//!
//! Nothing here touches hardware or memory by itself. Physical memory is read through [`read::PhysRead`], device
//! registers through [`console::Registers`]; both are supplied by the arch crate, or by a test. So everything runs on
//! the host too, over dumped tables. Facts about memory go to a [`mm::machine::MachineSink`], warnings with them, text
//! to a [`core::fmt::Write`]. No unsafe code, no allocation, no globals, and no input panics.
//!
//! The way of the data: [`handover`] finds out what the loader left behind and makes a [`handover::BootInfo`];
//! [`handover::BootInfo::describe`] sends the readers in [`firmware`] over the tables it names. [`cmdline`],
//! [`console`] and [`board`] say where to speak, [`power`] how to end. [`options`] says what the command line asks of
//! memory, [`reserve`] keeps what must be kept of it, and [`bring_up`] takes the filled description from there to
//! zones; memory in [`slots`] joins them then, by [`plug`].
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]
#![forbid(unsafe_code)]

pub mod board;
pub mod bring_up;
pub mod cmdline;
pub mod console;
pub mod firmware;
pub mod handover;
pub mod options;
pub mod plan;
pub mod plug;
pub mod power;
pub mod read;
pub mod reserve;
pub mod slots;

pub use cmdline::Cmdline;
pub use console::{ConsoleSpec, Registers, Uart};
pub use handover::{BootInfo, MemoryMapSource};
pub use power::PowerOff;
pub use read::{MemoryImage, PhysRead, Unreadable};
