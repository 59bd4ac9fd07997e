//! `cma=` and `cma_pernuma=`: memory kept contiguous for devices.
//!
//! `cma=SIZE` asks for that much wherever it fits, `SIZE@START` for exactly that place, `SIZE@START-END` for a place
//! inside; `cma=0` for none. Without the item the default of Linux's configurations holds. Linux: `early_cma` in
//! kernel/dma/contiguous.c.

use super::size::{leading_size, size};
use mm::addr::{PhysAddr, PhysRange};

/// Where the area is to lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CmaPlace {
    /// Where the kernel likes.
    Anywhere,
    /// Exactly from here on.
    At(PhysAddr),
    /// Somewhere inside.
    Within(PhysRange),
}

/// The area that `cma=` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CmaArea {
    /// Bytes; 0: there shall be none.
    pub size: u64,
    /// Where.
    pub place: CmaPlace,
}

/// What the command line says of contiguous memory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CmaOption {
    /// The area for all devices; `None`: the default of the architecture.
    pub area: Option<CmaArea>,
    /// Bytes of an area of its own for each node; 0: none.
    pub per_node: u64,
}

/// What `cma=` says.
pub(super) fn area(value: &str) -> Result<CmaArea, &'static str> {
    let (size, rest) = leading_size(value).map_err(|error| error.reason())?;
    let Some(rest) = rest.strip_prefix('@') else {
        return if rest.is_empty() {
            Ok(CmaArea { size, place: CmaPlace::Anywhere })
        } else {
            Err("not SIZE@START-END")
        };
    };
    let (start, rest) = leading_size(rest).map_err(|error| error.reason())?;
    let start = PhysAddr::new(start);
    let exact = start.checked_add(size).ok_or("it runs past the end of the address space")?;
    let end = match rest.strip_prefix('-') {
        Some(end) => PhysAddr::new(self::size(end).map_err(|error| error.reason())?),
        None if rest.is_empty() => exact,
        None => return Err("not SIZE@START-END"),
    };
    if end < exact {
        return Err("it does not fit between START and END");
    }
    let place = if end == exact && start.as_u64() > 0 {
        CmaPlace::At(start)
    } else {
        CmaPlace::Within(PhysRange::new(start, end))
    };
    Ok(CmaArea { size, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn within(start: u64, end: u64) -> CmaPlace {
        CmaPlace::Within(PhysRange::new(PhysAddr::new(start), PhysAddr::new(end)))
    }

    #[test]
    fn every_form() {
        for (value, size, place) in [
            ("64M", 64 << 20, CmaPlace::Anywhere),
            ("0", 0, CmaPlace::Anywhere),
            ("16M@256M", 16 << 20, CmaPlace::At(PhysAddr::new(256 << 20))),
            ("16M@256M-272M", 16 << 20, CmaPlace::At(PhysAddr::new(256 << 20))),
            ("16M@0-4G", 16 << 20, within(0, 4 << 30)),
            ("16M@0x10000000-1G", 16 << 20, within(256 << 20, 1 << 30)),
            ("16M@0", 16 << 20, within(0, 16 << 20)),
        ] {
            assert_eq!(area(value), Ok(CmaArea { size, place }), "{value}");
        }
    }

    #[test]
    fn what_is_no_form() {
        for value in ["", "M", "64MB", "64M@", "64M@1G-", "64M@1G,2G", "64M@1G-1G", "64M@16E", "1E@15E", "64M@1G-1G+"] {
            assert!(area(value).is_err(), "{value}");
        }
    }
}
