//! What a file says of a machine, in numbers: there also for a machine that cannot come up, such as a device tree whose
//! memory the boot loader fills in.

use mm::machine::{Fact, MachineSink, MemoryKind, Purpose};
use serde::Serialize;

use super::tables::{TableMap, Tables};

/// How much there is of each.
#[derive(Serialize, Default, Debug)]
pub(super) struct Described {
    /// Banks of address space of any kind.
    banks: usize,
    /// Banks of RAM.
    pub(super) usable_banks: usize,
    /// Ranges that somebody holds or wants held.
    pub(super) reservations: usize,
    /// Those of them that are pools of contiguous memory.
    pub(super) contiguous: usize,
    affinities: usize,
    cpus: usize,
    /// The console that the device tree names, if it is one that the kernel can drive.
    pub(super) console: Option<String>,
    /// What the console that the device tree names is compatible with, driven or not.
    pub(super) console_compatible: Option<String>,
}

impl Described {
    /// Notes what is no fact about memory.
    pub(super) fn note(&mut self, tables: &Tables<'_>) {
        if let TableMap::Tree(tree) = &tables.map {
            self.console = tree.stdout().map(|console| format!("{:?}", console.kind).to_lowercase());
            self.console_compatible = tree.stdout_compatible().map(str::to_owned);
        }
    }

    fn held(&mut self, purpose: Purpose) {
        self.reservations += 1;
        if purpose == Purpose::Contiguous {
            self.contiguous += 1;
        }
    }
}

impl MachineSink for Described {
    fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::Bank(bank) => {
                self.banks += 1;
                if bank.kind == MemoryKind::Usable {
                    self.usable_banks += 1;
                }
            }
            Fact::Reservation(held) => self.held(held.purpose),
            Fact::Wish(wish) => self.held(wish.purpose),
            Fact::Affinity(_) => self.affinities += 1,
            Fact::Cpu(_) => self.cpus += 1,
            _ => {}
        }
    }
}
