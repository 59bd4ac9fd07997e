//! How much memory only what can be moved away may use.

#![forbid(unsafe_code)]

/// How much memory a parameter asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of all pages.
    Percent(u8),
    /// What the firmware says is mirrored.
    Mirror,
}

/// What becomes of memory that can be taken out of the machine (`movable_node`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum MovableNode {
    /// It is memory like any other.
    #[default]
    Ignore,
    /// The kernel keeps nothing of its own there.
    Honour,
}

/// What the command line says of the Movable zone.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MovableRequest {
    /// At least so much is for the kernel (`kernelcore=`).
    pub kernelcore: Option<Amount>,
    /// At least so much is Movable (`movablecore=`).
    pub movablecore: Option<Amount>,
    /// Whether hot-pluggable memory is Movable.
    pub movable_node: MovableNode,
}
