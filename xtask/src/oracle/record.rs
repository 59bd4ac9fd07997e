//! `cargo xtask oracle record`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::args::RecordArgs;
use super::store::{self, Record, SCHEMA};
use super::{Facts, boot, chosen, initrd};
use crate::arch::Arch;
use crate::debian::{self, Linux};
use crate::exit::Exit;
use crate::image;
use crate::jobs::in_parallel;
use crate::matrix::Machine;
use crate::missing;
use crate::needs::Need;
use crate::progress::Progress;
use crate::test::{self, Results};

/// Linux of one arch, with its RAM disk.
struct Guest {
    linux: Linux,
    initrd: PathBuf,
}

/// Boots Linux on the machines that are chosen and keeps what it says.
pub(super) fn record(args: &RecordArgs) -> Result<Exit> {
    let machines = chosen(&args.choice)?;
    let mut needs = Need::of_debian().to_vec();
    for machine in &machines {
        needs.push(Need::Qemu(machine.arch));
        if machine.boot.has_uefi() {
            needs.push(Need::Firmware(machine.arch));
        }
    }
    needs.sort_unstable();
    needs.dedup();
    missing::require(&needs, args.installing.consent())?;
    let mut guests = BTreeMap::new();
    for arch in Arch::ALL {
        if machines.iter().any(|machine| machine.arch == arch) {
            guests.insert(arch, guest(arch)?);
        }
    }
    let limit = Duration::from_secs(args.timeout);
    let progress = Progress::of_steps(machines.len());
    let mut results = Results::default();
    let work = |machine: &Machine| {
        progress.note(&machine.name);
        let start = Instant::now();
        let guest = guests.get(&machine.arch).context("no Linux of this arch")?;
        let facts = ask(machine, guest, limit)?;
        anyhow::Ok((facts, start.elapsed()))
    };
    in_parallel(&machines, test::jobs(args.choice.jobs), work, |machine, outcome| {
        match outcome {
            Ok((facts, time)) => {
                results.passed += 1;
                progress.line(&format!("ok     {} ({:.1} s): {}", machine.name, time.as_secs_f64(), summary(&facts)));
            }
            Err(error) => {
                results.failed += 1;
                progress.line(&format!("FAILED {}: {error:#}", machine.name));
            }
        }
        progress.step();
    });
    drop(progress);
    Ok(results.close())
}

fn guest(arch: Arch) -> Result<Guest> {
    eprintln!("xtask: Debian's Linux for {arch}");
    let linux = debian::linux(arch)?;
    let busybox = fs::read(&linux.busybox).with_context(|| linux.busybox.display().to_string())?;
    let initrd = linux.kernel.with_file_name("initrd");
    image::write_whole(&initrd, &initrd::archive(&busybox))?;
    Ok(Guest { linux, initrd })
}

fn ask(machine: &Machine, guest: &Guest, limit: Duration) -> Result<Facts> {
    let answer = boot::linux(machine, &guest.linux, &guest.initrd, limit)?;
    let record = Record {
        schema: SCHEMA,
        machine: machine.name.clone(),
        kernel: answer.kernel,
        qemu: boot::written(machine)?,
        firmware: boot::firmware(machine)?,
        facts: answer.facts,
    };
    store::write(&record)?;
    Ok(record.facts)
}

fn summary(facts: &Facts) -> String {
    let (nodes, zones) = (facts.initmem.len(), facts.zones.len());
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let physical = facts.totals.physical_kib;
    format!("{nodes} node{}, {zones} zone{}, {physical} KiB", plural(nodes), plural(zones))
}
