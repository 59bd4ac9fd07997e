//! Which kernel: for which arch, with which memory model.

use std::fmt;

use clap::ValueEnum;
use serde::Deserialize;

use crate::arch::Arch;

/// Where the kernel keeps its records of frames (`mm::model`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Model {
    /// In one array of virtual space, with memory behind it where memory is described
    #[default]
    Vmemmap,
    /// In one array of memory, for all frames from the first to the last
    Flat,
}

impl Model {
    /// The feature of the kernel that chooses it, which also names the folder of that kernel's build.
    pub(crate) fn feature(self) -> Option<&'static str> {
        match self {
            Self::Vmemmap => None,
            Self::Flat => Some("flat"),
        }
    }
}

/// One build of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kernel {
    pub(crate) arch: Arch,
    pub(crate) model: Model,
}

/// The kernel that is built when nothing is said.
impl From<Arch> for Kernel {
    fn from(arch: Arch) -> Self {
        Self { arch, model: Model::default() }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kernel", self.arch)?;
        self.model.feature().map_or(Ok(()), |feature| write!(f, " ({feature})"))
    }
}
