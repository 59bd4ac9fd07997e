//! mm/testkit
#![no_std]
