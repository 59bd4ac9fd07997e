//! The end: test device, power off, reset.
