//! What the firmware says to a call.

use core::fmt;

/// What PSCI says when it does not do what it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PsciError {
    /// There is no such function.
    NotSupported,
    /// There is no such CPU.
    InvalidParameters,
    /// It may not be.
    Denied,
    /// The CPU runs.
    AlreadyOn,
    /// The CPU is about to run.
    OnPending,
    /// It did not work.
    InternalFailure,
    /// The CPU is not there.
    NotPresent,
    /// The CPU is disabled.
    Disabled,
    /// The entry point is no address that the CPU may go to.
    InvalidAddress,
    /// Something that the specification does not list.
    Other(i32),
}

impl PsciError {
    /// What the call left in x0: zero is success, and only the low half counts.
    pub(crate) const fn result(x0: u64) -> Result<(), Self> {
        Err(match x0 as i32 {
            0 => return Ok(()),
            -1 => Self::NotSupported,
            -2 => Self::InvalidParameters,
            -3 => Self::Denied,
            -4 => Self::AlreadyOn,
            -5 => Self::OnPending,
            -6 => Self::InternalFailure,
            -7 => Self::NotPresent,
            -8 => Self::Disabled,
            -9 => Self::InvalidAddress,
            other => Self::Other(other),
        })
    }
}

impl fmt::Display for PsciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSupported => "not supported (-1)",
            Self::InvalidParameters => "no such CPU, invalid parameters (-2)",
            Self::Denied => "denied (-3)",
            Self::AlreadyOn => "the CPU is on already (-4)",
            Self::OnPending => "the CPU is being turned on already (-5)",
            Self::InternalFailure => "internal failure (-6)",
            Self::NotPresent => "the CPU is not present (-7)",
            Self::Disabled => "the CPU is disabled (-8)",
            Self::InvalidAddress => "invalid entry address (-9)",
            Self::Other(code) => return write!(f, "unknown result {code}"),
        })
    }
}

impl core::error::Error for PsciError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    // The numbers of the specification (DEN0022, 5.2.2 "Return codes").
    #[test]
    fn results_have_words() {
        assert_eq!(PsciError::result(0), Ok(()));
        let of = |code: i32| PsciError::result(i64::from(code) as u64);
        assert_eq!(of(-1), Err(PsciError::NotSupported));
        assert_eq!(of(-4), Err(PsciError::AlreadyOn));
        assert_eq!(of(-9), Err(PsciError::InvalidAddress));
        assert_eq!(of(-77), Err(PsciError::Other(-77)));
        for code in -9..0 {
            let said = of(code).expect_err("a failure").to_string();
            assert!(said.contains(&std::format!("({code})")), "{said}");
        }
    }

    #[test]
    fn only_the_low_half_counts() {
        // A call of the 32-bit convention leaves whatever it likes in the upper half.
        assert_eq!(PsciError::result(0xffff_fffd), Err(PsciError::Denied));
        assert_eq!(PsciError::result(0xdead_beef_0000_0000), Ok(()));
    }
}
