//! The options of `cargo xtask oracle`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::arch::Arch;
use crate::cli::Installing;

/// Options of `oracle`.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
                        cargo xtask oracle compare\n  \
                        cargo xtask oracle record --config 'virt-*'")]
pub(crate) struct OracleArgs {
    #[command(subcommand)]
    pub(super) task: Task,
}

#[derive(Subcommand)]
pub(super) enum Task {
    /// Boot Debian's Linux on the machines, and keep what it says in ci/linux/
    Record(RecordArgs),
    /// Boot our kernel on the machines, and hold what it says against ci/linux/
    Compare(CompareArgs),
}

/// Which machines, and how many at once.
#[derive(Args)]
pub(super) struct Choice {
    /// Machines of this arch only
    #[arg(long)]
    pub(super) arch: Option<Arch>,
    /// Machines whose name matches (`*` any letters, `?` one)
    #[arg(long, value_name = "GLOB")]
    pub(super) config: Option<String>,
    /// How many machines run at once [default: the number of CPUs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
}

#[derive(Args)]
#[command(
    after_help = "Debian's packages are fetched with apt-get into the target folder; nothing is installed, and no \
                        right is needed. Each log is kept as target/oracle/NAME.linux.log.\n\n\
                        Example:\n  cargo xtask oracle record --config 'q35-*' --jobs 2"
)]
pub(super) struct RecordArgs {
    #[command(flatten)]
    pub(super) choice: Choice,
    /// Time limit of each boot in seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) timeout: u64,
    #[command(flatten)]
    pub(super) installing: Installing,
}

#[derive(Args)]
#[command(after_help = "Each log is kept as target/oracle/NAME.log. The last line is `N passed, N failed`.\n\n\
                        Example:\n  cargo xtask oracle compare --config '*-nodes' --json target/oracle.json")]
pub(super) struct CompareArgs {
    #[command(flatten)]
    pub(super) choice: Choice,
    /// Write the table and the differences as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    #[command(flatten)]
    pub(super) installing: Installing,
}
