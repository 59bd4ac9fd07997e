//! The UEFI application: loads the kernel from the partition that it was started from, and enters it by the Limine boot
//! protocol. See `docs/loader.md`.
//!
//! What can be decided without firmware is decided in the library beside this ([`loader`]). Here is what calls the
//! firmware (`app`) and what only this CPU's instructions can do (`arch`).
#![cfg_attr(target_os = "uefi", no_main, no_std)]

#[cfg(target_os = "uefi")]
mod app;
#[cfg(target_os = "uefi")]
mod arch;

/// On the host there is nothing to load and nobody to load it for.
#[cfg(not(target_os = "uefi"))]
fn main() -> std::process::ExitCode {
    eprintln!("tessera-loader runs on UEFI only: build it with --target x86_64-unknown-uefi or aarch64-unknown-uefi");
    std::process::ExitCode::from(2)
}
