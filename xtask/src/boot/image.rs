//! `cargo xtask image`: a disk image that boots the kernel.

use std::fs;

use anyhow::{Context as _, Result};

use super::esp::{Contents, Loader};
use super::{BootBy, disk, limine};
use crate::arch::Arch;
use crate::cli::{ImageArgs, ImageBoot};
use crate::exit::{Exit, Failure, usage};
use crate::image::{self, Report};
use crate::kernel::Kernel;
use crate::missing;
use crate::needs::Need;
use crate::workspace;

/// Builds kernel and loader, and writes the image.
pub(crate) fn image(args: &ImageArgs) -> Result<Exit> {
    let arch = args.arch.map_or_else(Arch::host, Ok)?;
    let by = match args.boot {
        ImageBoot::Uefi => BootBy::Uefi,
        ImageBoot::Limine => BootBy::Limine,
    };
    if args.limine.is_some() && by != BootBy::Limine {
        return Err(usage("--limine names the files of a boot by Limine: add --boot limine"));
    }
    if let Some(initrd) = args.initrd.as_ref().filter(|initrd| !initrd.is_file()) {
        return Err(Failure::NoFile(format!("--initrd: there is no file {}", initrd.display())).into());
    }
    // Before anything is built: what nothing here can bring.
    let limine = (by == BootBy::Limine).then(|| limine::program(arch, args.limine.as_deref())).transpose()?;
    missing::require(&Need::of_loading(arch, by), args.installing.consent())?;
    let kernel = Kernel { arch, model: args.model };
    image::build(kernel, Report::Progress)?;
    let loader = match limine {
        Some(program) => Loader::Limine(program),
        None => Loader::Ours(image::build_loader(arch, Report::Progress)?),
    };
    let contents = Contents {
        arch,
        loader: &loader,
        kernel: &workspace::kernel_elf(kernel)?,
        damage: None,
        command_line: &args.append,
        initrd: args.initrd.as_deref(),
    };
    let output = match &args.output {
        Some(file) => file.clone(),
        None => {
            let folder = workspace::target_dir()?.join("images");
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            folder.join(format!("{arch}-{by}.img"))
        }
    };
    disk::write(&output, args.size, &contents)?;
    println!("{}", output.display());
    Ok(Exit::Right)
}
