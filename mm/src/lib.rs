//! Memory bring-up and allocation for kernels: from the ranges that firmware names to pages, objects and `Box`.
//!
//! `no_std`, stable Rust, no globals, no `alloc`, nothing of any architecture or firmware: what it needs of them comes
//! in through three traits on one `Copy` handle, which is zero-sized in a kernel and leads to an emulated machine in a
//! test. All state is a value that the kernel owns.
//!
//! The modules, in the order in which memory comes up:
//!
//! | module | holds | Linux |
//! |---|---|---|
//! | [`addr`] | addresses, frames, ranges, small numbers; checked arithmetic | `asm/page.h`, `linux/pfn.h` |
//! | [`arch`] | what a kernel supplies: `PhysMap`, `Cpu`, `PageFormat` | `asm/*.h` |
//! | [`sync`] | the interrupt-saving lock | `spinlock.h` |
//! | [`machine`] | what the firmware said, each fact with its source | `e820_table`, `numa_meminfo` |
//! | [`memblock`] | memory and reservations before there is an allocator | `mm/memblock.c` |
//! | [`layout`] | kernel virtual space, and all conversions of addresses | `mm.rst`, `asm/page.h` |
//! | [`paging`] | page tables: direct map, fixmap, early ioremap, walk, dump | `init_64.c`, `mmu.c` |
//! | [`resource`] | who lies where in physical address space | `kernel/resource.c` |
//! | [`numa`] | nodes of memory and CPUs, distances | `numa.c`, `srat.c`, `arch_numa.c` |
//! | [`percpu`](mod@percpu) | variables with a copy for each CPU | `percpu.c`, `percpu-defs.h` |
//! | [`smp`] | what CPUs say to each other: arrival, flushes, calls; work and timers of each | `kernel/smp.c`, `tlb.c` |
//! | [`zone`] | what memory may be used for; zonelists, watermarks | `mm_init`, `page_alloc.c` |
//! | [`model`] | a record for each frame, as late as possible; five memory models | `memory_model.h`, `sparse.c` |
//! | [`page_alloc`] | blocks of `1 << order` frames | `page_alloc.c` |
//! | [`slab`] | objects, `kmalloc`, what `GlobalAlloc` calls | `slub.c`, `slab_common.c` |
//! | [`vmalloc`] | ranges of virtual space with guard pages, stacks, `ioremap` | `vmalloc.c`, `ioremap.c` |
//! | [`mod@mm`] | [`Mm`]: all of it in one value | |
//! | [`stress`] | shakes all of it on many CPUs | `lib/test_vmalloc.c`, `lib/slub_kunit.c` |
//! | [`view`] | boot lines, the formats of `/proc`, the life of an address | `vmstat.c` |
//!
//! # How to use it
//!
//! 1. Make a handle and implement [`PhysMap`](arch::PhysMap), [`Cpu`](arch::Cpu) and [`PageFormat`](arch::PageFormat)
//!    for it.
//! 2. Fill a [`Memblock`](memblock::Memblock): by [`add`](memblock::Memblock::add) and
//!    [`reserve`](memblock::Memblock::reserve), or by [`populate`](memblock::Memblock::populate) from a
//!    [`MachineMemory`](machine::MachineMemory). Say with [`set_mapped`](memblock::Memblock::set_mapped) what can be
//!    reached already.
//! 3. Hand it on, each stage by value: [`Nodes::assign`](numa::Nodes::assign),
//!    [`map_direct`](paging::direct::map_direct) for tables that reach all of it,
//!    [`Zones::lay_out`](zone::Zones::lay_out) and [`build_zonelists`](zone::Zones::build_zonelists), [`Mm::new`].
//! 4. Keep the [`Mm`] in one static: `mm.pages` has pages, `mm.slab` objects, `mm.vmalloc` ranges of virtual space, `mm.record` what memblock knew. A global
//!    allocator is a handle that calls [`Slab::allocate`](slab::Slab::allocate) and
//!    [`Slab::deallocate`](slab::Slab::deallocate).
//!
//! `mm/examples/adopt.rs` is the smallest complete user: the three traits and the whole way to a `Box` in 120 lines, on
//! a host (`cargo run -p tessera-mm --example adopt`). `kernel/src/start.rs` is the same with firmware and real tables.
//!
//! [`Mm::verify`] walks every structure; on a host, `mm-testkit` has machines to run all of this on.
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
pub mod percpu;
pub mod resource;
pub mod slab;
pub mod smp;
pub mod stress;
pub mod sync;
pub mod view;
pub mod vmalloc;
pub mod zone;

pub use mm::Mm;
