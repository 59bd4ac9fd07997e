//! Memory bring-up and allocation for kernels.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod addr;
pub mod arch;
pub mod layout;
pub mod machine;
pub mod memblock;
pub mod mm;
pub mod model;
pub mod numa;
pub mod page_alloc;
pub mod paging;
pub mod resource;
pub mod slab;
pub mod sync;
pub mod view;
pub mod zone;

pub use mm::Mm;
