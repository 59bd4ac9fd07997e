//! `cargo xtask simulate`: bring-up of a machine that is not here, from the file that describes it.
//!
//! The way of a file: `input` reads it and says what kind it is; `machine_file` (TOML), `log` (what a kernel printed)
//! or the device tree's own reader make a [`Subject`](subject::Subject) of it; `srat` sees to the numbers of its nodes;
//! `tables` and `facts` state it to `mm` and `platform` as its firmware would; `run` takes it through the same stages
//! as the kernel, up to zonelists; `summary` and `why` look at the result. No memory of the machine is touched but for
//! one window, so its size does not matter. A file that cannot be used is one line, and the others still run.

mod described;
mod facts;
mod input;
mod log;
mod machine_file;
#[cfg(test)]
mod maps;
mod node_ranges;
mod run;
mod srat;
mod subject;
mod summary;
mod tables;
mod totals;
mod why;

use std::path::Path;

use anyhow::{Context as _, Result};
use mm::machine::Rules;
use mm::zone::LowZones;
use platform::Cmdline;
use serde::Serialize;

use crate::cli::{SimulateArgs, SimulateFormat, SimulatePages};
use crate::debian;
use crate::exit::{Exit, report, usage};
use crate::missing::{self, Consent};
use crate::needs::Need;
use described::Described;
use subject::{PageSize, Span, Subject};
use summary::Summary;
use tables::Tables;
use totals::Totals;
use why::Why;

/// Items of a command line whose effect a map after them shows.
const MAP_OPTIONS: &[&str] = &["mem", "memmap"];
/// Items whose effect a kernel's list of memory by node shows.
const NODE_OPTIONS: &[&str] = &["mem", "memmap", "numa"];

/// One file's part of the JSON output.
#[derive(Serialize)]
struct Object {
    schema: u32,
    config: String,
    file: String,
    /// What the file says, in numbers.
    described: Described,
    #[serde(flatten)]
    summary: Option<Summary>,
    /// Why there is nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    warnings: Vec<String>,
}

/// Simulates each file, and says how the worst of them went.
pub(crate) fn simulate(args: &SimulateArgs) -> Result<Exit> {
    let mut worst = Exit::Right;
    let mut objects = Vec::new();
    let mut files = args.files.clone();
    if args.debian {
        missing::require(&Need::of_debian(), Consent::Ask)?;
        files.extend(debian::device_trees()?);
    }
    for path in &files {
        let result = match args.format {
            SimulateFormat::Json => as_json(path, args, &mut objects),
            SimulateFormat::Totals => counted(path, args, &mut objects),
            SimulateFormat::Text => as_text(path, args, files.len()),
        };
        if let Err(error) = result {
            worst = worst.max(report(&error.context(path.display().to_string())));
        }
    }
    match args.format {
        SimulateFormat::Json => println!("{}", json(&objects).context("the result cannot be written as JSON")?),
        SimulateFormat::Totals => print!("{}", Totals::of(&objects)),
        SimulateFormat::Text => {}
    }
    Ok(worst)
}

/// The object of one file by itself, those of several in an array.
fn json(objects: &[Object]) -> serde_json::Result<String> {
    match objects {
        [object] => serde_json::to_string_pretty(object),
        _ => serde_json::to_string_pretty(objects),
    }
}

/// The machine that the file at `path` describes, with what the command line says besides.
fn subject(path: &Path, args: &SimulateArgs) -> Result<Subject> {
    let mut subject = input::read(path)?;
    srat::believe(&mut subject);
    srat::number_domains(&mut subject);
    if let Some(line) = &args.append {
        subject.cmdline = format!("{} {line}", subject.cmdline);
    }
    if let Some(size) = args.page_size {
        if subject.rules == Rules::X86 && !matches!(size, SimulatePages::K4) {
            return Err(usage("an x86 machine has pages of 4K, and no other"));
        }
        subject.page_size = match size {
            SimulatePages::K4 => PageSize::K4,
            SimulatePages::K16 => PageSize::K16,
            SimulatePages::K64 => PageSize::K64,
        };
    }
    Ok(subject)
}

/// Adds an object for the file, whatever comes of it.
fn as_json(path: &Path, args: &SimulateArgs, objects: &mut Vec<Object>) -> Result<()> {
    object(path, subject(path, args), objects)
}

fn object(path: &Path, subject: Result<Subject>, objects: &mut Vec<Object>) -> Result<()> {
    let (mut summary, mut log, mut notes) = (Summary::default(), run::Log::default(), Vec::new());
    let result = subject.and_then(|subject| {
        notes.clone_from(&subject.notes);
        bring_up(&subject, &mut log, &mut summary)
    });
    let error = result.as_ref().err().map(|error| format!("{error:#}"));
    notes.append(&mut log.warnings);
    objects.push(Object {
        schema: 1,
        config: input::config(path),
        file: path.display().to_string(),
        described: log.described,
        summary: error.is_none().then_some(summary),
        error,
        warnings: notes,
    });
    result
}

/// Adds an object to be counted. That a machine does not come up is one of the things that are; that there is no
/// machine is not.
fn counted(path: &Path, args: &SimulateArgs, objects: &mut Vec<Object>) -> Result<()> {
    let subject = subject(path, args)?;
    let _ = object(path, Ok(subject), objects);
    Ok(())
}

fn as_text(path: &Path, args: &SimulateArgs, files: usize) -> Result<()> {
    let subject = subject(path, args)?;
    if files > 1 {
        println!("==> {} <==", path.display());
    }
    let mut log = run::Log::default();
    let mut why = Why::new(args.why.map(|address| address.0));
    let result = bring_up(&subject, &mut log, &mut why);
    for warning in subject.notes.iter().chain(&log.warnings) {
        eprintln!("warning: {warning}");
    }
    match &why.text {
        Some(text) => print!("{text}"),
        None => print!("{}", log.text.text),
    }
    result
}

/// Brings the machine up.
fn bring_up(subject: &Subject, log: &mut run::Log, visitor: &mut impl run::Visitor) -> Result<()> {
    let mut scratch = Vec::new();
    run::run(subject, &Tables::of(subject, &mut scratch)?, log, visitor)
}

/// The command line without the items called `names`.
fn without_items(cmdline: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return cmdline.to_owned();
    }
    let cmdline = Cmdline::new(cmdline);
    let kept = cmdline.items().filter(|item| !names.contains(&item.name)).map(|item| item.to_string());
    kept.collect::<Vec<_>>().join(" ")
}

/// The first byte that some device of an arm64 machine does not reach. Its device tree or IORT says so, which no log
/// shows; but where another zone goes on at a border below 4 GiB, that is why.
fn dma_limit<'z>(rules: Rules, zones: impl Iterator<Item = (&'z str, Span)> + Clone) -> Option<u64> {
    let (_, dma) = zones.clone().find(|(zone, _)| *zone == "DMA").filter(|_| rules == Rules::Arm64)?;
    let end = dma.last().checked_add(1).filter(|end| *end < 1 << 32)?;
    zones.into_iter().any(|(_, zone)| dma.touches(zone)).then_some(end)
}

/// The low zones that a kernel had, by where its zones lie: it lacked one whose memory belongs to the next. Where that
/// cannot be seen, it had both, as the kernel here has.
fn low_zones<'z>(rules: Rules, zones: impl Iterator<Item = (&'z str, Span)> + Clone) -> LowZones {
    let dma_end = match rules {
        Rules::X86 => 16 << 20,
        Rules::Arm64 => 1 << 32,
    };
    let lacks = |name: &str, end: u64, above: &[&str]| {
        let mut named = zones.clone().filter(|(zone, _)| *zone == name);
        named.next().is_none() && zones.clone().any(|(zone, span)| above.contains(&zone) && span.first() < end)
    };
    let mut had = LowZones::all();
    had.set(LowZones::DMA, !lacks("DMA", dma_end, &["DMA32", "Normal"]));
    had.set(LowZones::DMA32, !lacks("DMA32", 1 << 32, &["Normal"]));
    had
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn args(line: &str) -> SimulateArgs {
        use clap::Parser as _;
        match crate::cli::Cli::parse_from(line.split(' ')).verb {
            crate::cli::Verb::Simulate(args) => args,
            _ => panic!("{line} is no simulation"),
        }
    }

    fn map(name: &str) -> String {
        crate::workspace::root().join("ci/maps").join(name).display().to_string()
    }

    fn value(line: &str) -> Value {
        let args = args(line);
        let mut objects = Vec::new();
        for path in &args.files {
            let _ = as_json(path, &args, &mut objects);
        }
        serde_json::from_str(&json(&objects).unwrap()).unwrap()
    }

    #[test]
    fn json_has_the_keys_that_programs_read() {
        let one = value(&format!("xtask simulate --format json {}", map("x86-bochs.toml")));
        assert_eq!((&one["schema"], &one["config"]), (&Value::from(1), &Value::from("x86-bochs")));
        assert_eq!(one["node_ranges"][0], serde_json::json!([0, "0x1000", "0x9efff"]));
        assert_eq!(one["zone_ranges"]["DMA"], serde_json::json!(["0x1000", "0xffffff"]));
        assert_eq!(one["zone_ranges"]["Normal"], Value::Null);
        assert_eq!(one["initmem"]["0"], serde_json::json!(["0x1000", "0x1fffdfff"]));
        assert_eq!(one["unavailable"], serde_json::json!([[0, "DMA", 1], [0, "DMA", 97], [0, "DMA32", 2]]));
        assert_eq!(one["zone_present"], serde_json::json!([[0, "DMA", 3998], [0, "DMA32", 126_974]]));
        assert_eq!(one["memory"]["physical_k"], Value::from(523_888));
        assert_eq!(one["fallback"], serde_json::json!({"0": [0]}));
        assert_eq!(one["zonelists"][1], serde_json::json!(["general", 0, "DMA32", ["0:DMA32", "0:DMA"]]));
        assert_eq!((&one["movable_start"], &one["warnings"]), (&serde_json::json!({}), &serde_json::json!([])));
    }

    #[test]
    fn a_file_that_cannot_be_used_does_not_keep_the_others() {
        let two = value(&format!("xtask simulate --format json /nowhere.log {}", map("x86-bochs.toml")));
        assert_eq!(two[0]["error"], Value::from("there is no such file"));
        assert_eq!(two[0]["node_ranges"], Value::Null);
        assert_eq!(two[1]["node_ranges"].as_array().unwrap().len(), 2);
        let line = format!("xtask simulate /nowhere.log {}", map("x86-bochs.toml"));
        assert_eq!(simulate(&args(&line)).unwrap(), Exit::Missing);
    }

    #[test]
    fn the_command_line_changes_page_size_and_options() {
        let big = value(&format!("xtask simulate --format json --page-size 64K {}", map("arm64-cubieboard7.toml")));
        assert_eq!(big["zone_present"], serde_json::json!([[0, "DMA", 1_032_192 / 64]]));
        let path = map("x86-intel-corp-groveport.toml");
        let two = value(&format!("xtask simulate --format json {path}"));
        let one = value(&format!("xtask simulate --format json --append numa=off {path}"));
        let nodes = |value: &Value| value["initmem"].as_object().unwrap().len();
        assert_eq!((nodes(&two), nodes(&one)), (2, 1));
    }

    #[test]
    fn a_zone_whose_memory_is_the_next_ones_was_not_there() {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        let had = |rules, zones: &[(&'static str, u64, u64)]| {
            let zones: Vec<_> =
                zones.iter().map(|(zone, start, end)| (*zone, Span::until(*start, *end).unwrap())).collect();
            low_zones(rules, zones.into_iter())
        };
        let both = LowZones::all();
        for rules in [Rules::X86, Rules::Arm64] {
            assert_eq!(had(rules, &[]), both, "nothing can be seen");
            assert_eq!(had(rules, &[("Normal", 4 * GIB, 8 * GIB)]), both, "no memory that they could have");
            assert_eq!(had(rules, &[("DMA32", 4096, 4 * GIB), ("Normal", 4 * GIB, 8 * GIB)]), LowZones::DMA32);
            assert_eq!(had(rules, &[("Normal", 4096, 8 * GIB)]), LowZones::empty());
            let split = [("DMA", 4096, 16 * MIB), ("DMA32", 16 * MIB, 2 * GIB)];
            assert_eq!(had(rules, &split), both);
            assert_eq!(had(rules, &[split[0], ("Normal", 16 * MIB, 8 * GIB)]), LowZones::DMA);
        }
        // The line of the DMA zone is lost.
        assert_eq!(had(Rules::X86, &[("DMA32", 16 * MIB, 2 * GIB)]), both);
        assert_eq!(had(Rules::X86, &[("DMA32", 16 * MIB - 4096, 2 * GIB)]), LowZones::DMA32);
        assert_eq!(had(Rules::Arm64, &[("DMA", GIB, 4 * GIB), ("Normal", 4 * GIB, 8 * GIB)]), both);
    }

    #[test]
    fn a_kernel_without_a_dma_zone_prints_none() {
        let aya = value(&format!("xtask simulate --format json {}", map("x86-ayadevice-aya-neo-founder.toml")));
        assert_eq!(aya["zone_ranges"].as_object().unwrap().keys().collect::<Vec<_>>(), ["DMA32", "Normal"]);
        assert_eq!(aya["zone_ranges"]["DMA32"], serde_json::json!(["0x1000", "0xffffffff"]));
        assert_eq!(aya["unavailable"][1], serde_json::json!([0, "DMA32", 96]));
        assert_eq!(aya["zonelists"][1], serde_json::json!(["general", 0, "Normal", ["0:Normal", "0:DMA32"]]));
    }

    #[test]
    fn items_are_left_out_by_name() {
        let line = "root=/dev/sda mem=4G memmap=1G!4G \"exec=a b\" crashkernel=1G numa=off";
        assert_eq!(without_items(line, MAP_OPTIONS), "root=/dev/sda exec=\"a b\" crashkernel=1G numa=off");
        assert_eq!(without_items(line, NODE_OPTIONS), "root=/dev/sda exec=\"a b\" crashkernel=1G");
        assert_eq!(without_items(line, &[]), line);
    }
}
