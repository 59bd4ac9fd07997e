//! arch/x86_64
#![no_std]
