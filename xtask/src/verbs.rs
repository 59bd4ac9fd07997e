//! Each verb of the command line, and what does it.

use anyhow::Result;
use clap::Parser as _;

use crate::arch::Arch;
use crate::cli::{BuildArgs, Cli, Verb};
use crate::exit::Exit;
use crate::image::{self, Report};
use crate::kernel::Kernel;
use crate::needs::Need;
use crate::{boot, ci, doctor, fuzz, missing, mutants, new_board, oracle, run, simulate, test};

/// Does what the command line asks for.
pub(crate) fn perform() -> Result<Exit> {
    match Cli::parse().verb {
        Verb::Run(args) => run::run(&args),
        Verb::Build(args) => build(&args),
        Verb::Image(args) => boot::image::image(&args),
        Verb::Test(args) => test::test(&args),
        Verb::Oracle(args) => oracle::oracle(&args),
        Verb::Fuzz(args) => fuzz::fuzz(&args),
        Verb::Mutants(args) => mutants::mutants(&args),
        Verb::NewBoard(args) => new_board::new_board(&args),
        Verb::Doctor(args) => doctor::doctor(args.installing.consent()),
        Verb::Simulate(args) => simulate::simulate(&args),
        Verb::Ci(args) => ci::ci(&args),
    }
}

fn build(args: &BuildArgs) -> Result<Exit> {
    let arch = args.arch.map_or_else(Arch::host, Ok)?;
    missing::require(&Need::of_build(arch), args.installing.consent())?;
    let kernel = Kernel { arch, model: args.model };
    println!("{}", image::build(kernel, Report::Progress)?.display());
    Ok(Exit::Right)
}
