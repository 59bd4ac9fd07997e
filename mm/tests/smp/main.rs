//! What CPUs say to each other: step by step on scripted wires, and with real threads on the emulated machine.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod arrival;
mod call;
mod flush;
mod queues;
mod threads;
mod wires;
