//! `cargo xtask oracle compare`.

use std::fs;

use anyhow::{Context as _, Result, anyhow, bail};

use super::args::CompareArgs;
use super::table::{self, Row};
use super::{boot, chosen, store};
use crate::exit::Exit;
use crate::image::Report;
use crate::jobs::in_parallel;
use crate::matrix::Machine;
use crate::missing;
use crate::progress::Progress;
use crate::test::machines::Build;
use crate::test::{self, Results};

/// Boots our kernel on the machines that are chosen and holds what it says against Linux's records.
pub(super) fn compare(args: &CompareArgs) -> Result<Exit> {
    let machines = chosen(&args.choice)?;
    missing::require(&test::needs(&machines), args.installing.consent())?;
    for build in Build::all(&machines.iter().collect::<Vec<_>>()) {
        build.carry_out(Report::Progress)?;
    }
    let progress = Progress::of_steps(machines.len());
    let mut rows = Vec::new();
    let work = |machine: &Machine| {
        progress.note(&machine.name);
        row(machine)
    };
    in_parallel(&machines, test::jobs(args.choice.jobs), work, |machine, row| {
        let row = row.unwrap_or_else(|error| Row::failed(&machine.name, format!("{error:#}")));
        rows.push(row);
        progress.step();
    });
    drop(progress);
    let place = |row: &Row| machines.iter().position(|machine| machine.name == row.machine);
    rows.sort_by_key(place);
    let mut results = Results::default();
    for row in &rows {
        *if row.is_equal() { &mut results.passed } else { &mut results.failed } += 1;
    }
    print!("{}", table::text(&rows));
    if let Some(file) = &args.json {
        let json = format!("{:#}\n", table::json(&rows, results.passed, results.failed));
        fs::write(file, json).with_context(|| file.display().to_string())?;
    }
    Ok(results.close())
}

fn row(machine: &Machine) -> Result<Row> {
    let again = || format!("cargo xtask oracle record --config {}", machine.name);
    let record = store::read(&machine.name)?;
    let record = record.ok_or_else(|| anyhow!("Linux was not asked about this machine: {}", again()))?;
    if record.qemu != boot::written(machine)? {
        bail!("the machine was another when Linux was asked: {}", again());
    }
    if record.firmware != boot::firmware(machine)? {
        bail!("the UEFI firmware was another when Linux was asked: {}", again());
    }
    Ok(Row::new(&machine.name, &record.facts, &boot::ours(machine)?))
}
