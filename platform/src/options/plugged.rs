//! `memhp_default_state=`: what becomes of memory that is plugged in. Linux: `mhp_online_type_from_str` in
//! drivers/base/memory.c.

use mm::zone::{MovableNode, Placement};

/// What becomes of memory that is plugged in.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum PluggedMemory {
    /// It is known and not used.
    #[default]
    Offline,
    /// It joins the zone that it meets.
    Online,
    /// It joins a zone for the kernel.
    Kernel,
    /// It joins the Movable zone.
    Movable,
}

impl PluggedMemory {
    pub(super) fn parse(value: &str) -> Result<Self, &'static str> {
        match value {
            "offline" => Ok(Self::Offline),
            "online" => Ok(Self::Online),
            "online_kernel" => Ok(Self::Kernel),
            "online_movable" => Ok(Self::Movable),
            _ => Err("neither offline nor online, online_kernel or online_movable"),
        }
    }

    /// Which zone takes it; `None` when none does.
    #[must_use]
    pub const fn placement(self, movable_node: MovableNode) -> Option<Placement> {
        match self {
            Self::Offline => None,
            Self::Online => Some(Placement::Default(movable_node)),
            Self::Kernel => Some(Placement::Kernel),
            Self::Movable => Some(Placement::Movable),
        }
    }
}
