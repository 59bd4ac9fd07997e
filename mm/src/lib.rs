//! Memory bring-up and allocation for kernels.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod addr;
pub mod arch;
pub mod layout;
pub mod machine;
pub mod memblock;
pub mod numa;
pub mod paging;
pub mod sync;
pub mod view;
pub mod zone;
