//! By which protocol the kernel was entered, and by whom.

use arrayvec::ArrayString;
use core::fmt;

/// How the boot loader handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// PVH (x86): an `hvm_start_info`.
    Pvh,
    /// The Linux Image protocol (arm64): a device tree.
    LinuxImage,
    /// The Limine boot protocol: responses to requests.
    Limine(LimineLoader),
}

/// A loader of the Limine boot protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimineLoader {
    /// The base revision that it used; `None` from loaders that do not say, which know 2 at most.
    pub revision: Option<u64>,
    /// What it calls itself; empty when it does not say.
    pub name: LoaderText,
    /// Its version, in its own words.
    pub version: LoaderText,
}

/// A loader's word about itself, cut to 31 bytes.
pub type LoaderText = ArrayString<31>;

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pvh => f.write_str("PVH"),
            Self::LinuxImage => f.write_str("Linux Image"),
            Self::Limine(loader) => write!(f, "Limine protocol, {loader}"),
        }
    }
}

impl fmt::Display for LimineLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision {
            Some(revision) => write!(f, "base revision {revision}")?,
            None => f.write_str("base revision 2 or older")?,
        }
        match (self.name.is_empty(), self.version.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => write!(f, ", by {}", self.name),
            (false, false) => write!(f, ", by {} {}", self.name, self.version),
        }
    }
}
