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
