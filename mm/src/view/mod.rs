//! Text in the formats that people and programs know from Linux.
//!
//! Everything here reads and prints; nothing decides. All of it goes to a `fmt::Write`, so that a kernel prints to its
//! console and a test to a string.

#![forbid(unsafe_code)]

pub mod boot;
pub mod iomem;
