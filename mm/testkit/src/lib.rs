//! An emulated machine on which `mm` is tested on the host.
//!
//! A [`Machine`] has RAM in ranges, with holes between them and nodes on them, CPUs with interrupt flags, and page
//! tables that its own walker reads through a TLB for each CPU. [`Emulated`] is the handle that `mm` is generic over;
//! a test may hold many machines at once. The page size is a const generic: [`Machine<12>`](Machine), `<14>`, `<16>`.
//!
//! The machine is stricter than hardware, so that what would be a rare crash there is a failed test here. It panics on
//!
//! - a physical access outside RAM, and in the mode [`Machine::require_mapped`], outside what the active tables'
//!   direct map holds;
//! - the use of a translation that the TLB still holds but the tables no longer say, and of an absent one;
//! - a live leaf that turns into leaves of another size without being absent and flushed in between;
//! - a table entry that nobody has written, a leaf of a size that this CPU lacks, a misaligned leaf;
//! - interrupts that are restored while they are on;
//! - after [`Machine::per_cpu_flush`], a CPU that does not answer a flush.
//!
//! RAM is allocated from the host range by range, zeroed lazily: a machine of 4 GiB costs what is touched. Pointers
//! derive from these allocations, so tests run under Miri, which checks what the machine cannot.
//!
//! [`Told`] is what firmware says of a machine that is not there, and brings its memory up as a kernel does.
//!
//! The entry format and the walker share no code with `mm::paging`.
#![expect(clippy::panic, reason = "an emulated machine answers misuse with a failed test")]

mod boot;
mod cpu;
mod describe;
mod emulated;
mod format;
mod machine;
mod percpu;
mod smp;
mod survey;
mod told;
mod translate;

pub use boot::{Boot, RangeFrames};
pub use cpu::{current_cpu, run_on, with_interrupts};
pub use describe::Description;
pub use emulated::Emulated;
pub use machine::{Builder, Machine};
pub use survey::{Mapped, TableFrame};
pub use told::{Refused, Told};
pub use translate::{Fault, Intent};
