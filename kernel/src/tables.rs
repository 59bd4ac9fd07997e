//! The final page tables: RAM in the direct map, the image with W^X, the fixmap.
//!
//! They are built beside the boot tables and switched to in one step, so a half-built map is never live.

