//! A part of much work, so that several hosts share it: `--shard K/N`.

use std::fmt;
use std::str::FromStr;

/// Part `part` of `of`, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shard {
    part: usize,
    of: usize,
}

impl Shard {
    /// Leaves every N-th item, beginning with the K-th: neighbours, which cost alike, go to different parts.
    pub(crate) fn keep<T>(self, items: Vec<T>) -> Vec<T> {
        items.into_iter().skip(self.part).step_by(self.of).collect()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((part, of)) if part < of => Ok(Self { part, of }),
            _ => Err("write K/N with K below N, as 0/8".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_lies_below_the_number_of_parts() {
        assert_eq!("0/8".parse(), Ok(Shard { part: 0, of: 8 }));
        assert_eq!(Shard { part: 3, of: 8 }.to_string(), "3/8");
        for wrong in ["", "x", "9/8", "8/8", "0/0", "1", "1/2/3", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_parts_together_are_the_whole() {
        for of in 1..12 {
            let mut seen: Vec<u32> = (0..of).flat_map(|part| Shard { part, of }.keep((0..10).collect())).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..10).collect::<Vec<_>>());
        }
    }
}
