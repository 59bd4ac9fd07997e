//! `numa=`: where nodes come from.
//!
//! `off`, `on`, `noacpi` (x86), or `fake=` with a number of nodes (`4`), the size of each (`512M`, `1G`) or how many to
//! cut each of the firmware's into (`2U`). The letters are capitals, as in Linux. Behind a number or a size may stand
//! the distances of the nodes, row by row (`2:10,15,15,10`); as in Linux one counts only with a comma behind it, so the
//! last of all, which can only be 10, never does. Linux: `numa_setup` in arch/x86/mm/numa.c, `numa_emulation` in
//! arch/x86/mm/numa_emulation.c, `get_option` in lib/cmdline.c.

use super::size::{leading_number, size};
use arrayvec::ArrayVec;
use mm::numa::{Fake, NodeSource, NumaOption};

/// Distances that are kept; more are an error. Enough for 32 nodes.
const MOST_DISTANCES: usize = 1024;

/// The distances of emulated nodes, row by row, as far as they are wished.
pub type FakeDistances = ArrayVec<u8, MOST_DISTANCES>;

/// Takes what `value` says over. Items add up: each changes what it speaks of.
pub(super) fn take(value: &str, option: &mut NumaOption, distances: &mut FakeDistances) -> Result<(), &'static str> {
    match value {
        "off" => option.source = NodeSource::Off,
        // `off` says more.
        "noacpi" if option.source == NodeSource::Off => {}
        "noacpi" => option.source = NodeSource::Nobody,
        // Of the HMAT nothing is read anyway.
        "on" | "nohmat" => {}
        _ => {
            let wish = value.strip_prefix("fake=").ok_or("neither on, off, noacpi, nohmat nor fake=")?;
            let (nodes, list) = wish.split_once(':').map_or((wish, None), |(nodes, list)| (nodes, Some(list)));
            let wished = match (fake(nodes)?, list) {
                (Fake::PerNode(_), Some(_)) => return Err("fake=NU takes no distances"),
                (fake, list) => (fake, self::distances(list.unwrap_or_default())?),
            };
            (option.fake, *distances) = (Some(wished.0), wished.1);
        }
    }
    Ok(())
}

fn distances(list: &str) -> Result<FakeDistances, &'static str> {
    let mut distances = FakeDistances::new();
    let mut left = list;
    while !left.is_empty() {
        let (number, rest) = leading_number(left).map_err(|error| error.reason())?;
        let distance = u8::try_from(number).map_err(|_| "a distance is more than 255")?;
        match rest.strip_prefix(',') {
            Some(rest) => {
                distances.try_push(distance).map_err(|_| "more than 1024 distances")?;
                left = rest;
            }
            None if rest.is_empty() => break,
            None => return Err("distances are numbers with commas between them"),
        }
    }
    Ok(distances)
}

fn fake(nodes: &str) -> Result<Fake, &'static str> {
    let (number, unit) = leading_number(nodes).map_err(|error| error.reason())?;
    if number == 0 {
        return Err("no memory is on no node");
    }
    let count = || u32::try_from(number).map_err(|_| "more nodes than there can be");
    match unit {
        "" => Ok(Fake::Count(count()?)),
        "U" => Ok(Fake::PerNode(count()?)),
        "M" | "G" => Ok(Fake::Size(size(nodes).map_err(|error| error.reason())?)),
        _ => Err("fake= takes a number, or one with M, G or U behind it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What all of `line` says; the last reason for which an item was refused.
    fn parse(line: &str) -> Result<(NumaOption, FakeDistances), &'static str> {
        let (mut option, mut distances) = (NumaOption::default(), FakeDistances::new());
        let taken = line.split(' ').try_for_each(|value| take(value, &mut option, &mut distances));
        taken.map(|()| (option, distances))
    }

    const fn of(source: NodeSource, fake: Option<Fake>) -> NumaOption {
        NumaOption { source, fake }
    }

    #[test]
    fn every_form() {
        let fakes = |fake| of(NodeSource::Firmware, Some(fake));
        for (value, expected) in [
            ("off", of(NodeSource::Off, None)),
            ("on", NumaOption::default()),
            ("nohmat", NumaOption::default()),
            ("noacpi", of(NodeSource::Nobody, None)),
            ("fake=4", fakes(Fake::Count(4))),
            ("fake=0x10", fakes(Fake::Count(16))),
            ("fake=512M", fakes(Fake::Size(512 << 20))),
            ("fake=2G", fakes(Fake::Size(2 << 30))),
            ("fake=8U", fakes(Fake::PerNode(8))),
        ] {
            assert_eq!(parse(value), Ok((expected, FakeDistances::new())), "{value}");
        }
    }

    #[test]
    fn items_add_up() {
        for (line, expected) in [
            ("noacpi fake=2 nohmat", of(NodeSource::Nobody, Some(Fake::Count(2)))),
            ("fake=2:10,15, off fake=3", of(NodeSource::Off, Some(Fake::Count(3)))),
            ("off noacpi on", of(NodeSource::Off, None)),
        ] {
            assert_eq!(parse(line), Ok((expected, FakeDistances::new())), "{line}");
        }
    }

    #[test]
    fn distances_count_with_a_comma_behind_them() {
        for (value, fake, expected) in [
            ("fake=2:10,15,0x10,10", Fake::Count(2), [10, 15, 16].as_slice()),
            ("fake=2:10,15,16,10,", Fake::Count(2), &[10, 15, 16, 10]),
            ("fake=1G:10,15", Fake::Size(1 << 30), &[10]),
            ("fake=2:", Fake::Count(2), &[]),
        ] {
            let (option, distances) = parse(value).unwrap();
            assert_eq!((option, distances.as_slice()), (of(NodeSource::Firmware, Some(fake)), expected), "{value}");
        }
        for value in ["fake=2:10,x", "fake=2:10;20", "fake=2:10,256,", "fake=2:,", "fake=2U:10,", "fake=:10,"] {
            assert!(parse(value).is_err(), "{value}");
        }
        assert_eq!(parse(&format!("fake=32:{}", "20,".repeat(1025))), Err("more than 1024 distances"));
    }

    #[test]
    fn what_is_no_form() {
        for value in
            ["", "of", "fake", "fake=", "fake=0", "fake=M", "fake=4m", "fake=4UU", "fake=4,4", "fake=4294967296"]
        {
            assert!(parse(value).is_err(), "{value}");
        }
        assert!(parse("fake=99999999999999G").is_err());
    }
}
