//! What the command line asks of memory, each item as a value of its own type.
//!
//! [`Options::read`] walks the command line once. A value that cannot be understood is one warning and changes nothing:
//! what an earlier item said holds, or the default. What changes the firmware's map itself (`mem=`, `memmap=` on x86)
//! is applied by the map's reader, which warns too.
//!
//! | file | items |
//! |---|---|
//! | `size` | sizes, as all of them write them |
//! | `numa` | `numa=` |
//! | `movable` | `kernelcore=`, `movablecore=` |
//! | `cma` | `cma=`, `cma_pernuma=` |
//! | `crash` | `crashkernel=` |
//! | `plugged` | `memhp_default_state=` |
//! | `huge` | `hugepages=`, `hugepagesz=`, `default_hugepagesz=` |
//!
//! Linux: `early_param` and `__setup` all over `mm/`, `kernel/` and `arch/*/mm`.

pub mod size;

mod cma;
mod crash;
mod huge;
mod movable;
mod numa;
mod plugged;

pub use cma::{CmaArea, CmaOption, CmaPlace};
pub use crash::{CrashKernel, CrashOption};
pub use huge::{HugeOption, HugeRequest};
pub use numa::FakeDistances;
pub use plugged::PluggedMemory;

use crate::cmdline::Cmdline;
use mm::memblock::Tell;
use mm::numa::NumaOption;
use mm::zone::{MovableNode, MovableRequest};
use size::{SizeError, size};

/// How much memblock says of what it does.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum MemblockTrace {
    /// Nothing.
    #[default]
    Off,
    /// Every change (`memblock=debug`).
    Changes,
}

impl MemblockTrace {
    /// What memblock's listener is told.
    #[must_use]
    pub const fn tell(self) -> Tell {
        match self {
            Self::Off => Tell::Warnings,
            Self::Changes => Tell::Everything,
        }
    }
}

/// What the command line asks of memory.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Options {
    /// How many bytes of memory to use (`mem=`), or why that cannot be understood. For arm64, where the lowest so many
    /// bytes are used; on x86 the reader of the map has applied it, as an address, and has warned.
    pub memory_limit: Option<Result<u64, SizeError>>,
    /// Where nodes come from (`numa=`).
    pub numa: NumaOption,
    /// How far emulated nodes are from each other (`numa=fake=N:…`).
    pub fake_distances: FakeDistances,
    /// What the Movable zone gets (`kernelcore=`, `movablecore=`, `movable_node`).
    pub movable: MovableRequest,
    /// Contiguous memory for devices (`cma=`, `cma_pernuma=`).
    pub cma: CmaOption,
    /// Memory for a crash kernel (`crashkernel=`).
    pub crash: CrashOption,
    /// Large pages set aside (`hugepages=`, `hugepagesz=`, `default_hugepagesz=`).
    pub huge: HugeOption,
    /// What becomes of memory that is plugged in (`memhp_default_state=`).
    pub plugged_memory: PluggedMemory,
    /// How much of zones and zonelists is told (`mminit_loglevel=`); 4: all.
    pub mminit_loglevel: u32,
    /// Whether memblock tells its changes (`memblock=debug`).
    pub memblock: MemblockTrace,
}

impl Options {
    /// Reads `cmdline`. `reject` gets each item that cannot be understood, and why.
    #[must_use]
    pub fn read(cmdline: &Cmdline, reject: &mut dyn FnMut(&str, &'static str)) -> Self {
        let mut options = Self::default();
        for item in cmdline.items() {
            // The table's name, so that dashes are underscores here too.
            let Some(parameter) = item.parameter() else { continue };
            if let Err(why) = options.take(parameter.name, item.value) {
                reject(parameter.name, why);
            }
        }
        options
    }

    fn take(&mut self, name: &str, value: Option<&str>) -> Result<(), &'static str> {
        let given = || value.ok_or("it takes a value");
        let bytes = |value| size(value).map_err(|error| error.reason());
        match name {
            "mem" => self.memory_limit = Some(value.ok_or(SizeError::NoNumber).and_then(size)),
            "numa" => numa::take(given()?, &mut self.numa, &mut self.fake_distances)?,
            "kernelcore" => self.movable.kernelcore = Some(movable::kernelcore(given()?)?),
            "movablecore" => self.movable.movablecore = Some(movable::movablecore(given()?)?),
            "movable_node" => self.movable.movable_node = MovableNode::Honour,
            "cma" => self.cma.area = Some(cma::area(given()?)?),
            "cma_pernuma" => self.cma.per_node = bytes(given()?)?,
            "crashkernel" => self.crash.take(given()?)?,
            "memhp_default_state" => self.plugged_memory = PluggedMemory::parse(given()?)?,
            "hugepages" => self.huge.take_pages(given()?)?,
            "hugepagesz" => self.huge.take_size(given()?)?,
            "default_hugepagesz" => self.huge.take_default_size(given()?)?,
            "mminit_loglevel" => self.mminit_loglevel = given()?.parse().map_err(|_| "not a number")?,
            "memblock" if given()? == "debug" => self.memblock = MemblockTrace::Changes,
            "memblock" => return Err("not debug"),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mm::numa::NodeSource;
    use mm::zone::Amount;

    fn read(line: &str) -> (Options, Vec<(String, &'static str)>) {
        let mut rejected = Vec::new();
        let options = Options::read(&Cmdline::new(line), &mut |item, why| rejected.push((item.to_owned(), why)));
        (options, rejected)
    }

    #[test]
    fn every_item_reaches_its_place() {
        let (options, rejected) = read(
            "mem=1G numa=off kernelcore=1G movablecore=30% movable_node cma=64M cma-pernuma=32M crashkernel=256M \
             hugepagesz=2M hugepages=4 memhp_default_state=online_movable mminit_loglevel=4 memblock=debug root=/dev/vda",
        );
        assert_eq!(rejected, []);
        assert_eq!(options.memory_limit, Some(Ok(1 << 30)));
        assert_eq!(options.numa.source, NodeSource::Off);
        let movable = MovableRequest {
            kernelcore: Some(Amount::Bytes(1 << 30)),
            movablecore: Some(Amount::Percent(30)),
            movable_node: MovableNode::Honour,
        };
        assert_eq!(options.movable, movable);
        let area = CmaArea { size: 64 << 20, place: CmaPlace::Anywhere };
        assert_eq!(options.cma, CmaOption { area: Some(area), per_node: 32 << 20 });
        assert_eq!(options.crash.plain.and_then(|plain| plain.size(1 << 30)), Some(256 << 20));
        assert_eq!(options.huge.requests().len(), 2);
        assert_eq!(options.plugged_memory, PluggedMemory::Movable);
        assert_eq!((options.mminit_loglevel, options.memblock), (4, MemblockTrace::Changes));
    }

    #[test]
    fn what_cannot_be_understood_is_one_warning_and_the_default() {
        for line in [
            "numa",
            "numa=fake",
            "kernelcore",
            "kernelcore=200%",
            "movablecore=mirror",
            "cma=x",
            "cma",
            "cma_pernuma=",
            "crashkernel",
            "crashkernel=1-2",
            "hugepages=x",
            "mminit_loglevel=-1",
            "mminit_loglevel=x",
            "memblock",
            "memblock=on",
            "memhp_default_state",
            "memhp_default_state=Online",
        ] {
            let (options, rejected) = read(line);
            assert_eq!(rejected.len(), 1, "{line}");
            assert_eq!(Options { huge: HugeOption::default(), ..options }, Options::default(), "{line}");
        }
    }

    #[test]
    fn a_bad_item_leaves_what_an_earlier_one_said() {
        let (options, rejected) = read("cma_pernuma=8M cma_pernuma=8X numa=off numa=maybe");
        assert_eq!((options.cma.per_node, options.numa.source, rejected.len()), (8 << 20, NodeSource::Off, 2));
    }

    #[test]
    fn a_limit_that_cannot_be_understood_is_kept_for_who_applies_it() {
        assert_eq!(read("mem=1GB").0.memory_limit, Some(Err(SizeError::Trailing)));
        assert_eq!(read("mem").0.memory_limit, Some(Err(SizeError::NoNumber)));
        assert_eq!(read("").0.memory_limit, None);
    }
}
