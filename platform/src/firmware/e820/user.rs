//! `mem=` and `memmap=`: what the command line changes in the map, in the order in which it says so.
//!
//! | item | effect |
//! |---|---|
//! | `mem=N`, `memmap=N` | RAM ends at N |
//! | `memmap=N@S` | N bytes from S on are RAM |
//! | `memmap=N#S` | … ACPI data |
//! | `memmap=N$S` | … reserved |
//! | `memmap=N!S` | … persistent memory (type 12) |
//! | `memmap=N%S-F+T` | … of type F become type T; without `+T` they go, without `-F` type T is added, alone all go |
//! | `memmap=exactmap` | the map begins empty |
//!
//! `memmap=` takes several, with commas between them. One that cannot be understood is a warning and changes nothing.
//! Linux: `parse_memopt`, `parse_memmap_one` in `arch/x86/kernel/e820.c`.

use super::{Edit, Kind, Op};
use crate::cmdline::{Cmdline, Item};
use crate::options::size::{SizeError, leading_number, leading_size, size};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Problem, Source, Table, Warning};

/// Shows `each` change that the command line asks for, or what is wrong with it. The entries of the table "command
/// line" are its items, counted from 0.
pub(super) fn edits(cmdline: &Cmdline, each: &mut dyn FnMut(Result<Edit, Warning>)) {
    for (index, item) in (0..).zip(cmdline.items()) {
        let source = Source::entry(Table::CommandLine, index);
        let Item { name, value } = item;
        let mut hand = |change: Result<(Op, PhysRange), Problem>| {
            each(match change {
                Ok((op, range)) => Ok(Edit { op, range, source }),
                Err(problem) => Err(Warning { source, problem }),
            });
        };
        match (name, value) {
            ("mem", value) => hand(mem(value.unwrap_or_default())),
            ("memmap", None) => hand(memmap("")),
            ("memmap", Some(value)) => value.split(',').for_each(|one| hand(memmap(one))),
            _ => {}
        }
    }
}

const fn ignored(what: &'static str, why: &'static str) -> Problem {
    Problem::Ignored { what, why }
}

fn mem(value: &str) -> Result<(Op, PhysRange), Problem> {
    let end = size(value).map_err(|error| ignored("mem=", error.reason()))?;
    end_of_ram("mem=", end)
}

/// No RAM from `end` on. Nobody means to have none at all.
fn end_of_ram(item: &'static str, end: u64) -> Result<(Op, PhysRange), Problem> {
    if end == 0 {
        return Err(ignored(item, "RAM cannot end at 0"));
    }
    Ok((Op::Remove(Some(Kind::RAM)), PhysRange::new(PhysAddr::new(end), PhysRange::ALL.end())))
}

fn memmap(value: &str) -> Result<(Op, PhysRange), Problem> {
    // Linux looks at no more of the word.
    if value.starts_with("exactmap") {
        return Ok((Op::Clear, PhysRange::ALL));
    }
    let wrong = |error: SizeError| ignored("memmap=", error.reason());
    let (bytes, rest) = leading_size(value).map_err(wrong)?;
    let mut rest = rest.chars();
    let kind = match rest.next() {
        None => return end_of_ram("memmap=", bytes),
        Some('@') => Some(Kind::RAM),
        Some('#') => Some(Kind::ACPI),
        Some('$') => Some(Kind::RESERVED),
        Some('!') => Some(Kind::PRAM),
        Some('%') => None,
        Some(_) => return Err(wrong(SizeError::Trailing)),
    };
    let (start, rest) = leading_size(rest.as_str()).map_err(wrong)?;
    let op = match kind {
        Some(kind) if rest.is_empty() => Op::Add(kind),
        Some(_) => return Err(wrong(SizeError::Trailing)),
        None => change_of_type(rest)?,
    };
    let range = PhysRange::from_size(PhysAddr::new(start), bytes).ok_or(Problem::Wraps { start, size: bytes })?;
    Ok((op, range))
}

/// What `-FROM+TO` says, each of them optional.
fn change_of_type(mut rest: &str) -> Result<Op, Problem> {
    let from = number_behind('-', &mut rest)?;
    let to = number_behind('+', &mut rest)?;
    if !rest.is_empty() {
        return Err(ignored("memmap=", SizeError::Trailing.reason()));
    }
    Ok(match (from, to) {
        (Some(from), Some(to)) if from == to => return Err(ignored("memmap=", "a type cannot become itself")),
        (Some(from), Some(to)) => Op::Update { from, to },
        (None, Some(to)) => Op::Add(to),
        (from, None) => Op::Remove(from),
    })
}

/// The type behind `sign`, when `rest` begins with that. Type 0 is as good as none.
fn number_behind(sign: char, rest: &mut &str) -> Result<Option<Kind>, Problem> {
    let Some(number) = rest.strip_prefix(sign) else { return Ok(None) };
    let (number, behind) = leading_number(number).map_err(|error| ignored("memmap=", error.reason()))?;
    *rest = behind;
    let number = u32::try_from(number).map_err(|_| Problem::Value { what: "a type", value: number })?;
    Ok(Kind::new(number))
}
