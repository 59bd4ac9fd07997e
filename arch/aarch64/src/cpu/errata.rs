//! Errata of CPUs that this kernel's memory management meets, by MIDR_EL1, and what is done about each.
//!
//! Only what the code really does is listed. Where a remedy costs nothing it is simply how the code is written, for
//! every CPU; where it costs, one bit of [`REMEDIES`] says that it is needed, and a hot path reads that bit. Each CPU
//! looks itself up when it comes up ([`check`]), before it takes part in anything, so that one that comes late brings
//! its remedies with it; no bit is ever taken back. [`tell`] prints a line for each erratum of a CPU that runs, as Linux
//! does, once.
//!
//! Not listed, as nothing here can meet it: what hits hypervisors and their guests, EL0, 32-bit code, ASIDs, hardware
//! that writes access flags, tracing, interrupt translation. Linux: `arch/arm64/kernel/cpu_errata.c`,
//! `Documentation/arch/arm64/silicon-errata.rst`.

#[cfg(target_os = "none")]
use core::sync::atomic::{AtomicU32, Ordering};

/// What is done about an erratum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Remedy {
    /// The code is written so, on every CPU.
    Always,
    /// A bit says so.
    When(Remedies),
}

/// Remedies that cost something, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Remedies(u32);

impl Remedies {
    const NONE: Self = Self(0);
    /// Translations are dropped, and that waited for, twice: [`tlb`](crate::tlb).
    pub(crate) const REPEAT_TLBI: Self = Self(1 << 0);
    /// The counter is read twice: [`timer`](crate::timer).
    pub(crate) const READ_COUNTER_TWICE: Self = Self(1 << 1);
}

/// CPUs of one model, from one revision to another.
#[derive(Clone, Copy, Debug)]
struct Cpus {
    /// Implementer and part number, where they stand in MIDR.
    model: u32,
    /// Which bits of them count.
    mask: u32,
    /// The first and the last revision, as [`revision`] has them.
    revisions: (u8, u8),
    /// A revision, and the bit of REVIDR that says that the CPU has been mended.
    mended: Option<(u8, u32)>,
}

struct Erratum {
    /// What Linux calls it.
    name: &'static str,
    cpus: &'static [Cpus],
    remedy: Remedy,
}

const IMPLEMENTER: u32 = 0xff00_0000;
const PART: u32 = 0xfff0;

const ARM: u32 = 0x41;
const BROADCOM: u32 = 0x42;
const NVIDIA: u32 = 0x4e;
const QUALCOMM: u32 = 0x51;
const MICROSOFT: u32 = 0x6d;

/// Variant and revision, rNpM, as one number that grows with them.
const fn revision(major: u8, minor: u8) -> u8 {
    major << 4 | minor
}

/// All revisions of a part.
const fn all(implementer: u32, part: u32) -> Cpus {
    between(implementer, part, (0, 0), (0xf, 0xf))
}

/// Those of a part from one rNpM to another.
const fn between(implementer: u32, part: u32, first: (u8, u8), last: (u8, u8)) -> Cpus {
    let revisions = (revision(first.0, first.1), revision(last.0, last.1));
    Cpus { model: implementer << 24 | part << 4, mask: IMPLEMENTER | PART, revisions, mended: None }
}

/// The errata, with Linux's names and revisions.
const ERRATA: &[Erratum] = &[
    // Cleaning a line may leave an older one elsewhere or lock up; cleaning and dropping it does not. Nothing here
    // cleans in another way (`cache::clean`, entry.s).
    Erratum {
        name: "ARM errata 826319, 827319, 824069, or 819472",
        cpus: &[between(ARM, 0xd03, (0, 0), (0, 2))],
        remedy: Remedy::Always,
    },
    // Loads from devices among exclusive accesses to memory may lock up, those with acquire semantics do not: devices
    // are read by no other (`registers::load`, vectors.s).
    Erratum { name: "ARM erratum 832075", cpus: &[between(ARM, 0xd07, (0, 0), (1, 2))], remedy: Remedy::Always },
    // An `adrp` at the end of a page may give a wrong address. The linker keeps it from there, as kernel/build.rs asks.
    Erratum {
        name: "ARM erratum 843419",
        cpus: &[
            Cpus { mended: Some((revision(0, 4), 1 << 8)), ..between(ARM, 0xd03, (0, 0), (0, 4)) },
            between(BROADCOM, 0x100, (0, 0), (0, 0)),
        ],
        remedy: Remedy::Always,
    },
    // PAR_EL1 may lock up the CPU if it is read beside accesses to devices: it is read in limine.s only, between two
    // barriers.
    Erratum {
        name: "ARM erratum 1508412 (kernel portion)",
        cpus: &[between(ARM, 0xd0d, (0, 0), (1, 0))],
        remedy: Remedy::Always,
    },
    // A CPU may still use a translation that another one has dropped, and waited for. Falkor 1009, Arm 1286807, 2441007,
    // 2441009, 4118414.
    Erratum {
        name: "Broken broadcast TLBI completion",
        cpus: &[
            between(QUALCOMM, 0x800, (0, 0), (0, 0)),
            Cpus { mask: IMPLEMENTER | 0xf000, ..all(QUALCOMM, 0x200) },
            between(QUALCOMM, 0x804, (0xc, 0xe), (0xf, 0xe)),
            all(ARM, 0xd05),                     // Cortex-A55
            between(ARM, 0xd46, (0, 0), (1, 1)), // Cortex-A510
            all(ARM, 0xd0b),                     // Cortex-A76
            all(ARM, 0xd0e),                     // Cortex-A76AE
            all(ARM, 0xd0d),                     // Cortex-A77
            all(ARM, 0xd41),                     // Cortex-A78
            all(ARM, 0xd42),                     // Cortex-A78AE
            all(ARM, 0xd4b),                     // Cortex-A78C
            all(ARM, 0xd47),                     // Cortex-A710
            all(ARM, 0xd44),                     // Cortex-X1
            all(ARM, 0xd4c),                     // Cortex-X1C
            all(ARM, 0xd48),                     // Cortex-X2
            all(ARM, 0xd4e),                     // Cortex-X3
            all(ARM, 0xd82),                     // Cortex-X4
            all(ARM, 0xd85),                     // Cortex-X925
            all(ARM, 0xd0c),                     // Neoverse-N1
            all(ARM, 0xd49),                     // Neoverse-N2
            all(ARM, 0xd40),                     // Neoverse-V1
            all(ARM, 0xd4f),                     // Neoverse-V2
            all(ARM, 0xd84),                     // Neoverse-V3
            all(ARM, 0xd83),                     // Neoverse-V3AE
            all(ARM, 0xd90),                     // C1-Premium
            all(ARM, 0xd8c),                     // C1-Ultra
            all(NVIDIA, 0x010),                  // Olympus
            all(MICROSOFT, 0xd49),               // Azure Cobalt 100
        ],
        remedy: Remedy::When(Remedies::REPEAT_TLBI),
    },
    // The lower half of the counter may have wrapped while the upper half has not.
    Erratum {
        name: "ARM erratum 858921",
        cpus: &[all(ARM, 0xd09)],
        remedy: Remedy::When(Remedies::READ_COUNTER_TWICE),
    },
];

impl Cpus {
    const fn include(&self, midr: u32, revidr: u32) -> bool {
        let own = revision((midr >> 20 & 0xf) as u8, (midr & 0xf) as u8);
        let mended = match self.mended {
            Some((revision, bit)) => revision == own && revidr & bit != 0,
            None => false,
        };
        (midr ^ self.model) & self.mask == 0 && self.revisions.0 <= own && own <= self.revisions.1 && !mended
    }
}

/// The errata of the CPU with these registers: their places in [`ERRATA`].
fn of(midr: u32, revidr: u32) -> impl Iterator<Item = usize> {
    let hit = move |erratum: &Erratum| erratum.cpus.iter().any(|cpus| cpus.include(midr, revidr));
    (0..).zip(ERRATA).filter(move |(_, erratum)| hit(erratum)).map(|(place, _)| place)
}

/// The remedies that one of the errata at `places` wants.
fn remedies(places: impl Iterator<Item = usize>) -> Remedies {
    places.filter_map(|place| ERRATA.get(place)).fold(Remedies::NONE, |all, erratum| match erratum.remedy {
        Remedy::Always => all,
        Remedy::When(one) => Remedies(all.0 | one.0),
    })
}

/// What a CPU that runs, or has run, needs.
#[cfg(target_os = "none")]
static REMEDIES: AtomicU32 = AtomicU32::new(0);
/// The errata that a line was printed for, a bit each.
#[cfg(target_os = "none")]
static TOLD: AtomicU32 = AtomicU32::new(0);

const _: () = assert!(ERRATA.len() <= u32::BITS as usize);

/// Whether a CPU needs one of `remedies`.
#[cfg(target_os = "none")]
#[inline]
pub(crate) fn needs(remedies: Remedies) -> bool {
    REMEDIES.load(Ordering::Relaxed) & remedies.0 != 0
}

/// The registers of this CPU that name it: MIDR_EL1 and REVIDR_EL1.
#[cfg(target_os = "none")]
fn identity() -> (u32, u32) {
    let (midr, revidr): (u64, u64);
    // SAFETY: reads two registers that every CPU has.
    unsafe {
        core::arch::asm!("mrs {}, midr_el1", "mrs {}, revidr_el1", out(reg) midr, out(reg) revidr,
            options(pure, nomem, nostack, preserves_flags));
    }
    // Their upper halves are zero.
    (midr as u32, revidr as u32)
}

/// Looks this CPU up. From now on everybody does what it needs. Each CPU calls this before it takes part in anything.
#[cfg(target_os = "none")]
pub(crate) fn check() {
    let (midr, revidr) = identity();
    let Remedies(needed) = remedies(of(midr, revidr));
    if REMEDIES.fetch_or(needed, Ordering::Relaxed) & needed != needed {
        // What others dropped without the remedy, this CPU may still have. They ask for the bit when their drop is
        // done; so whoever does not see it was done before, and what is walked from here on is as it left it.
        crate::tlb::forget_all_here();
    }
}

/// Prints a line for each erratum of this CPU that no CPU before it had.
#[cfg(target_os = "none")]
pub(crate) fn tell() {
    let (midr, revidr) = identity();
    for place in of(midr, revidr) {
        if let Some(erratum) = ERRATA.get(place)
            && TOLD.fetch_or(1 << place, Ordering::Relaxed) & 1 << place == 0
        {
            log::info!("CPU features: detected: {}", erratum.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// The MIDR of an Arm CPU, written as its manual does.
    const fn arm(part: u32, major: u32, minor: u32) -> u32 {
        0x410f_0000 | part << 4 | major << 20 | minor
    }

    fn names(midr: u32, revidr: u32) -> Vec<&'static str> {
        of(midr, revidr).map(|place| ERRATA[place].name).collect()
    }

    const CLEAN: &str = "ARM errata 826319, 827319, 824069, or 819472";
    const DEVICE: &str = "ARM erratum 832075";
    const ADRP: &str = "ARM erratum 843419";
    const PAR: &str = "ARM erratum 1508412 (kernel portion)";
    const TLBI: &str = "Broken broadcast TLBI completion";
    const COUNTER: &str = "ARM erratum 858921";

    // MIDRs as boot logs of real machines print them ("Booting Linux on physical CPU 0x0000000000 [0x410fd034]").
    #[test]
    fn real_cpus_have_what_linux_says_of_them() {
        assert_eq!(names(0x410f_d034, 0), [ADRP], "Raspberry Pi 3: Cortex-A53 r0p4");
        assert_eq!(names(0x410f_d034, 0x180), [] as [&str; 0], "the same, mended");
        assert_eq!(names(0x410f_d083, 0), [] as [&str; 0], "Raspberry Pi 4: Cortex-A72 r0p3");
        assert_eq!(names(0x411f_d070, 0), [DEVICE], "QEMU's Cortex-A57, r1p0");
        assert_eq!(names(0x414f_d0b1, 0), [TLBI], "Raspberry Pi 5: Cortex-A76 r4p1");
        assert_eq!(names(0x412f_d050, 0), [TLBI], "RK3588: Cortex-A55 r2p0");
        assert_eq!(names(0x413f_d0c1, 0), [TLBI], "Ampere Altra: Neoverse-N1 r3p1");
        assert_eq!(names(0x410f_d092, 0), [COUNTER], "Amlogic S922X: Cortex-A73 r0p2");
        assert_eq!(names(0x510f_8000, 0), [TLBI], "Falkor r0p0");
        assert_eq!(names(0x511f_2052, 0), [TLBI], "Kryo: any part 0x2xx");
        assert_eq!(names(0x51df_805e, 0), [] as [&str; 0], "Kryo 4xx Silver");
        assert_eq!(names(0x51df_804e, 0), [TLBI], "Kryo 4xx Gold");
        assert_eq!(names(0x610f_0230, 0), [] as [&str; 0], "Apple M1");
        assert_eq!(names(0x000f_0510, 0), [] as [&str; 0], "QEMU's max");
    }

    #[test]
    fn revisions_bound_an_erratum_on_both_sides() {
        assert_eq!(names(arm(0xd03, 0, 0), 0), [CLEAN, ADRP]);
        assert_eq!(names(arm(0xd03, 0, 2), 0), [CLEAN, ADRP]);
        assert_eq!(names(arm(0xd03, 0, 3), 0), [ADRP]);
        assert_eq!(names(arm(0xd03, 0, 5), 0), [] as [&str; 0]);
        // The bit means something at one revision only.
        assert_eq!(names(arm(0xd03, 0, 3), 1 << 8), [ADRP]);
        assert_eq!(names(arm(0xd07, 1, 2), 0), [DEVICE]);
        assert_eq!(names(arm(0xd07, 1, 3), 0), [] as [&str; 0]);
        assert_eq!(names(arm(0xd0d, 1, 0), 0), [PAR, TLBI]);
        assert_eq!(names(arm(0xd0d, 1, 1), 0), [TLBI]);
        assert_eq!(names(arm(0xd46, 1, 1), 0), [TLBI]);
        assert_eq!(names(arm(0xd46, 1, 2), 0), [] as [&str; 0]);
        // Kryo 4xx Gold from rcpe to rfpe.
        assert_eq!(names(0x51cf_804d, 0), [] as [&str; 0]);
        assert_eq!(names(0x51ff_804e, 0), [TLBI]);
        assert_eq!(names(0x51ff_804f, 0), [] as [&str; 0]);
    }

    #[test]
    fn another_implementer_is_another_cpu() {
        // Cortex-A73's part number, by somebody else; and Falkor's, by Arm.
        assert_eq!(names(0x510f_d092, 0), [] as [&str; 0]);
        assert_eq!(names(0x410f_8000, 0), [] as [&str; 0]);
        assert_eq!(names(0x6d0f_d490, 0), [TLBI]);
    }

    #[test]
    fn remedies_are_those_of_all_errata_of_a_cpu() {
        let of_cpu = |midr| remedies(of(midr, 0));
        assert_eq!(of_cpu(arm(0xd03, 0, 0)), Remedies::NONE);
        assert_eq!(of_cpu(arm(0xd0d, 0, 0)), Remedies::REPEAT_TLBI);
        assert_eq!(of_cpu(arm(0xd09, 1, 0)), Remedies::READ_COUNTER_TWICE);
        let both = of(arm(0xd09, 0, 0), 0).chain(of(arm(0xd05, 0, 0), 0));
        assert_eq!(remedies(both), Remedies(0b11));
    }
}
