//! How a boot went, from the way QEMU ended.
//!
//! With the test device the kernel chooses QEMU's status: 33 on x86_64 (isa-debug-exit cannot say 0), 0 on aarch64.
//! Anything else is a failure, also 0 on x86_64: that is what QEMU returns when the machine resets itself after a
//! triple fault. Without the test device QEMU ends with 0 when the machine powers off, and that is right then.
//!
//! A boot loader powers off, too, when it gives up, and QEMU ends with 0: so where one loads the kernel, 0 is right only
//! when the kernel has spoken.

use crate::arch::Arch;
use crate::process::Ending;
use crate::qemu::TestDevice;
use crate::serial::Speaker;

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The kernel ended as it should.
    Right,
    /// It did not, and why.
    Wrong(String),
    /// It did not end.
    TimeLimit,
}

/// What isa-debug-exit makes of the kernel's 0x10 and 0x11: twice the value, plus one.
const ISA_DEBUG_RIGHT: i32 = 33;
const ISA_DEBUG_WRONG: i32 = 35;
/// What semihosting makes of a failure.
const SEMIHOSTING_WRONG: i32 = 1;

/// Judges a boot that nobody typed into. `panic` is the line in which the kernel gave up.
pub(crate) fn judge(arch: Arch, test_device: TestDevice, ending: Ending, panic: Option<&str>) -> Verdict {
    if let Some(line) = panic {
        return Verdict::Wrong(line.to_owned());
    }
    let status = match ending {
        Ending::TimeLimit => return Verdict::TimeLimit,
        Ending::Stopped => return Verdict::Wrong("the machine was stopped".to_owned()),
        Ending::Exited(status) => status,
    };
    let Some(code) = status.code() else { return Verdict::Wrong(format!("QEMU ended by {status}")) };
    match (test_device, arch, code) {
        (TestDevice::Present, Arch::X86_64, ISA_DEBUG_RIGHT)
        | (TestDevice::Present, Arch::Aarch64, 0)
        | (TestDevice::Absent, _, 0) => Verdict::Right,
        (TestDevice::Present, Arch::X86_64, ISA_DEBUG_WRONG) => {
            Verdict::Wrong("the kernel reports a failure".to_owned())
        }
        (TestDevice::Present, Arch::Aarch64, SEMIHOSTING_WRONG) => {
            Verdict::Wrong("the kernel reports a failure (QEMU's own errors have this status, too)".to_owned())
        }
        (TestDevice::Present, Arch::X86_64, 0) => {
            Verdict::Wrong("the machine was reset without a verdict (a triple fault?)".to_owned())
        }
        (_, _, code) => Verdict::Wrong(format!("QEMU ended with status {code}")),
    }
}

/// Judges a boot by firmware and a loader, in which nobody gave up and the kernel said nothing.
pub(crate) fn judge_silence(ending: Ending) -> Verdict {
    match ending {
        Ending::TimeLimit => Verdict::TimeLimit,
        _ => Verdict::Wrong("the machine ended before the kernel said anything".to_owned()),
    }
}

/// Judges a boot on a machine that leaves nothing to boot with: right is one sentence, and an end by the kernel itself
/// with the status of failure; a loader powers off. `last_words` is how many sentences there were; which one is for the
/// matrix to say.
pub(crate) fn judge_stop(arch: Arch, ending: Ending, who: Option<Speaker>, last_words: usize) -> Verdict {
    let (name, failure) = match (who, arch) {
        (Some(Speaker::Loader), _) => ("loader", 0),
        (_, Arch::X86_64) => ("kernel", ISA_DEBUG_WRONG),
        (_, Arch::Aarch64) => ("kernel", SEMIHOSTING_WRONG),
    };
    match (ending, last_words) {
        (Ending::TimeLimit, _) => Verdict::TimeLimit,
        (_, 0) => Verdict::Wrong("it should have stopped, and did not".to_owned()),
        (_, 2..) => Verdict::Wrong(format!("the {name} gave up {last_words} times")),
        (Ending::Stopped, _) => Verdict::Wrong(format!("the {name} said that it stops, and did not end")),
        (Ending::Exited(status), _) if status.code() == Some(failure) => Verdict::Right,
        (Ending::Exited(status), _) => Verdict::Wrong(format!("the {name} stopped, but QEMU ended by {status}")),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    fn exited(code: i32) -> Ending {
        Ending::Exited(ExitStatus::from_raw(code << 8))
    }

    #[test]
    fn only_the_status_of_success_is_right() {
        for code in 0..=255 {
            let right = |arch, test_device| judge(arch, test_device, exited(code), None) == Verdict::Right;
            assert_eq!(right(Arch::X86_64, TestDevice::Present), code == 33, "{code}");
            assert_eq!(right(Arch::Aarch64, TestDevice::Present), code == 0, "{code}");
            assert_eq!(right(Arch::X86_64, TestDevice::Absent), code == 0, "{code}");
            assert_eq!(right(Arch::Aarch64, TestDevice::Absent), code == 0, "{code}");
        }
    }

    #[test]
    fn a_triple_fault_is_no_success() {
        let verdict = judge(Arch::X86_64, TestDevice::Present, exited(0), None);
        assert!(matches!(verdict, Verdict::Wrong(reason) if reason.contains("triple fault")));
    }

    #[test]
    fn a_panic_outweighs_every_ending() {
        for ending in [exited(0), exited(33), Ending::Stopped, Ending::TimeLimit] {
            let verdict = judge(Arch::X86_64, TestDevice::Present, ending, Some("kernel panic: x"));
            assert_eq!(verdict, Verdict::Wrong("kernel panic: x".into()));
        }
    }

    #[test]
    fn a_stop_is_one_sentence_and_the_status_of_failure() {
        for (arch, who, failure) in [
            (Arch::X86_64, Speaker::Kernel, 35),
            (Arch::Aarch64, Speaker::Kernel, 1),
            (Arch::X86_64, Speaker::Loader, 0),
            (Arch::Aarch64, Speaker::Loader, 0),
        ] {
            for code in 0..=255 {
                let right = judge_stop(arch, exited(code), Some(who), 1) == Verdict::Right;
                assert_eq!(right, code == failure, "{arch} {code}");
            }
            for (ending, last_words) in [(exited(failure), 0), (exited(failure), 2), (Ending::Stopped, 1)] {
                assert!(matches!(judge_stop(arch, ending, Some(who), last_words), Verdict::Wrong(_)));
            }
            assert_eq!(judge_stop(arch, Ending::TimeLimit, None, 0), Verdict::TimeLimit);
        }
    }

    #[test]
    fn a_machine_that_ends_in_silence_has_not_booted() {
        for code in [0, 1, 33, 35] {
            assert!(matches!(judge_silence(exited(code)), Verdict::Wrong(_)));
        }
        assert_eq!(judge_silence(Ending::TimeLimit), Verdict::TimeLimit);
    }

    #[test]
    fn limits_and_signals_are_told_apart() {
        assert_eq!(judge(Arch::Aarch64, TestDevice::Present, Ending::TimeLimit, None), Verdict::TimeLimit);
        let killed = Ending::Exited(ExitStatus::from_raw(9));
        assert!(matches!(judge(Arch::Aarch64, TestDevice::Present, killed, None), Verdict::Wrong(_)));
    }
}
