//! `cargo xtask doctor`: everything that is needed, and whether it is there.

use anyhow::Result;

use crate::arch::Arch;
use crate::boot::limine;
use crate::exit::{Exit, Failure};
use crate::missing::{self, Consent};
use crate::needs::Need;

/// What `run` and `test` need, on both arches.
fn required() -> Vec<Need> {
    let mut needs = vec![Need::Rustup, Need::Toolchain, Need::Linker];
    for need in [Need::RustTarget, Need::UefiTarget, Need::Qemu, Need::Firmware] {
        needs.extend(Arch::ALL.map(need));
    }
    needs
}

/// What single verbs need.
const OPTIONAL: [(Need, &str); 9] = [
    (Need::Rustfmt, "for ci"),
    (Need::Clippy, "for ci"),
    (Need::Miri, "for test --miri"),
    (Need::NightlySources, "for test --tsan"),
    (Need::Apt, "for oracle record"),
    (Need::DpkgDeb, "for oracle record"),
    (Need::DebianKeys, "for oracle record"),
    (Need::CargoFuzz, "for fuzz"),
    (Need::CargoMutants, "for mutants"),
];

/// Lists what is needed, and installs what is missing when that was agreed to.
pub(crate) fn doctor(consent: Consent) -> Result<Exit> {
    let required = required();
    if consent == Consent::Given {
        missing::require(&required, consent)?;
    }
    let mut still_missing = Vec::new();
    for need in required {
        match need.look() {
            Ok(found) => println!("ok        {}: {found}", need.name()),
            Err(missing) => {
                println!("missing   {}", need.name());
                still_missing.push(missing);
            }
        }
    }
    for (need, purpose) in OPTIONAL {
        match need.look() {
            Ok(found) => println!("ok        {}: {found} (optional, {purpose})", need.name()),
            Err(missing) => println!("optional  {missing} ({purpose})"),
        }
    }
    for arch in Arch::ALL {
        match limine::program(arch, None) {
            Ok(program) => println!("ok        Limine for {arch}: {} (optional, for --boot limine)", program.display()),
            Err(error) => println!("optional  {error} (for --boot limine)"),
        }
    }
    if still_missing.is_empty() { Ok(Exit::Right) } else { Err(Failure::Missing(still_missing).into()) }
}
