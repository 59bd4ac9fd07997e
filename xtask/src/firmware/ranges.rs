//! How the matrix writes ranges of memory: `START SIZE`, what is there, and for many alike `COUNT times every STEP`.
//!
//! Numbers are hexadecimal with `0x`, or decimal with K, M or G behind. Nothing is checked beyond that: a range may
//! wrap, overlap others, or be empty, for that is what these machines are there to show.

use serde::Deserialize;

/// What stands between the range and the repetition.
pub(super) trait What: Sized {
    /// What the words mean.
    ///
    /// # Errors
    /// What should stand there.
    fn from_words(words: &[&str]) -> Result<Self, String>;
}

/// Ranges of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String", bound(deserialize = "W: What"))]
pub(super) struct Ranges<W> {
    pub(super) what: W,
    start: u64,
    size: u64,
    count: u64,
    step: u64,
}

impl<W> Ranges<W> {
    /// Start and size of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        (0..self.count).map(|index| (self.start.wrapping_add(index.wrapping_mul(self.step)), self.size))
    }
}

impl<W: What> TryFrom<String> for Ranges<W> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let complaint = |reason: &str| format!("`{text}`: {reason}");
        let words: Vec<&str> = text.split_whitespace().collect();
        let [start, size, rest @ ..] = words.as_slice() else { return Err(complaint("write START SIZE first")) };
        let number = |word: &str| number(word).ok_or_else(|| complaint(&format!("{word} is no number")));
        let (rest, count, step) = match rest {
            [rest @ .., count, "times", "every", step] => (rest, number(count)?, number(step)?),
            rest => (rest, 1, 0),
        };
        let what = W::from_words(rest).map_err(|reason| complaint(&reason))?;
        Ok(Self { what, start: number(start)?, size: number(size)?, count, step })
    }
}

/// An address as the matrix writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Address(pub(super) u64);

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        number(&text).map(Self).ok_or_else(|| format!("`{text}` is no address"))
    }
}

fn number(word: &str) -> Option<u64> {
    if let Some(digits) = word.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    let (digits, shift) = match word.as_bytes().last()? {
        b'K' => (&word[..word.len() - 1], 10),
        b'M' => (&word[..word.len() - 1], 20),
        b'G' => (&word[..word.len() - 1], 30),
        _ => (word, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Words(Vec<String>);

    impl What for Words {
        fn from_words(words: &[&str]) -> Result<Self, String> {
            match words {
                ["bad"] => Err("that is bad".to_owned()),
                _ => Ok(Self(words.iter().map(|&word| word.to_owned()).collect())),
            }
        }
    }

    fn parse(text: &str) -> Result<Ranges<Words>, String> {
        text.to_owned().try_into()
    }

    #[test]
    fn one_range_and_many() {
        let one = parse("0x9fc00 1K reserved").unwrap();
        assert_eq!((one.what, one.count), (Words(vec!["reserved".into()]), 1));
        let many = parse("1M 0x1000 3 times every 64K").unwrap();
        assert!(many.what.0.is_empty());
        assert_eq!(many.iter().collect::<Vec<_>>(), [(0x10_0000, 0x1000), (0x11_0000, 0x1000), (0x12_0000, 0x1000)]);
    }

    #[test]
    fn a_range_may_run_past_the_end_of_the_address_space() {
        let wrapping = parse("0xfffffffffffff000 0x2000").unwrap();
        assert_eq!(wrapping.iter().collect::<Vec<_>>(), [(0xffff_ffff_ffff_f000, 0x2000)]);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, reason) in [
            ("", "START SIZE"),
            ("0x1000", "START SIZE"),
            ("0x1000 much", "much is no number"),
            ("0xg 1", "0xg is no number"),
            ("20000000000G 1", "no number"),
            ("0 1 bad", "that is bad"),
            ("0 1 many times every 1K", "many is no number"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
