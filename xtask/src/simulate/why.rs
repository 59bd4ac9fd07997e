//! The life of one address on a machine that is not here.

use mm::addr::PhysAddr;
use mm::machine::MachineMemory;
use mm::view;
use mm::zone::Zones;
use mm_testkit::Emulated;

use super::run::Visitor;

/// Asks for the life of an address, or for nothing.
#[derive(Debug)]
pub(super) struct Why {
    address: Option<PhysAddr>,
    /// The answer, when there was a question.
    pub(super) text: Option<String>,
}

impl Why {
    /// The question.
    pub(super) fn new(address: Option<u64>) -> Self {
        Self { address: address.map(PhysAddr::new), text: None }
    }
}

impl Visitor for Why {
    fn visit<const SHIFT: u32>(&mut self, machine: &MachineMemory<'_>, zones: &Zones<Emulated<'_, SHIFT>>) {
        let Some(address) = self.address else { return };
        let mut text = String::new();
        // Text of this length always finds room.
        let _ = view::why_zones(&mut text, address, machine, zones);
        self.text = Some(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::input::{Kind, parse};
    use crate::simulate::{bring_up, run};

    fn why(text: &str, address: u64) -> String {
        let subject = parse(text.as_bytes().to_vec(), Kind::MachineFile).unwrap();
        let mut why = Why::new(Some(address));
        bring_up(&subject, &mut run::Log::default(), &mut why).unwrap();
        why.text.unwrap()
    }

    #[test]
    fn each_address_has_its_life() {
        let machine = r#"
            arch = "x86_64"
            e820 = [[0x0, 0x9fbff, "usable"], [0x100000, 0x7fffffff, "usable"], [0x80000000, 0x8fffffff, "reserved"],
                    [0x100000000, 0x1ffffffff, "usable"]]
            srat = [[0, 3, 0x0, 0x7fffffff, ""], [1, 5, 0x100000000, 0x1ffffffff, ""]]
            ramdisk = [[0x40000000, 0x40ffffff]]
        "#;
        let initrd = why(machine, 0x4000_0000);
        assert!(initrd.contains("E820 entry 1: [mem 0x0000000000100000-0x000000007fffffff] usable"), "{initrd}");
        assert!(initrd.contains("for initrd"), "{initrd}");
        assert!(initrd.contains("  node       0: SRAT entry 0 "), "{initrd}");
        assert!(initrd.contains("  zone       DMA32 of node 0, frames 0x1000-0x7ffff: "), "{initrd}");
        let high = why(machine, 0x1_8000_0000);
        assert!(high.contains("is of domain 5") && high.contains("  zone       Normal of node 1"), "{high}");
        let hole = why(machine, 0x8000_0000);
        assert!(hole.contains("] reserved") && hole.ends_with("  node       none: it is no memory\n"), "{hole}");
    }
}
