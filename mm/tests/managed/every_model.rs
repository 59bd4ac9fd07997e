//! The tests that hold for every memory model, with each of them.
//!
//! Miri is slow, and most of what it checks is the same for two models that differ in a table or in the number of their
//! arrays: of those it runs one with random operations.

use crate::up::{OfDiscontig, OfFlat, OfSparseExtreme, OfSparseStatic, OfVmemmap};

macro_rules! with {
    ($name:ident, $kind:ty, $left_out:meta) => {
        mod $name {
            use super::*;
            use crate::{grow, page_alloc, records, slab};
            use proptest::prelude::*;

            #[test]
            fn frames_of_a_small_machine_and_their_records() {
                records::a_small_machine::<$kind>();
            }

            #[test]
            #[cfg_attr(miri, ignore = "too much memory")]
            fn records_of_dirty_memory_are_zero() {
                records::dirty_memory::<$kind>();
            }

            proptest! {
                #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

                #[test]
                #[cfg_attr(miri, ignore = "too much memory")]
                fn from_frames_to_records_and_back(
                    small in records::layouts(27),
                    medium in records::layouts(27),
                    large in records::layouts(29),
                ) {
                    records::there_and_back::<$kind, 12>(&small);
                    records::there_and_back::<$kind, 14>(&medium);
                    records::there_and_back::<$kind, 16>(&large);
                }
            }

            #[test]
            #[cfg_attr(all(miri, $left_out), ignore = "as another model")]
            fn storm_on_a_small_machine_with_holes_and_odd_ends() {
                page_alloc::storm_on_a_small_machine_with_holes_and_odd_ends::<$kind>();
            }

            #[test]
            #[cfg_attr(miri, ignore = "too much memory")]
            fn storm_over_untouched_granules() {
                page_alloc::storm_over_untouched_granules::<$kind>();
            }

            #[test]
            #[cfg_attr(miri, ignore = "too much memory")]
            fn storm_on_two_interleaved_nodes() {
                page_alloc::storm_on_two_interleaved_nodes::<$kind>();
            }

            #[test]
            #[cfg_attr(miri, ignore = "too slow")]
            fn storm_with_16_and_64_kib_pages() {
                page_alloc::storm_with_16_kib_pages::<$kind>();
                page_alloc::storm_with_64_kib_pages_at_32_gib::<$kind>();
            }

            #[test]
            #[cfg_attr(all(miri, $left_out), ignore = "as another model")]
            fn frees_that_cannot_be_right_are_refused_by_name() {
                page_alloc::frees_that_cannot_be_right_are_refused_by_name::<$kind>();
            }

            #[test]
            #[cfg_attr(miri, ignore = "too much memory")]
            fn every_granule_is_carved_before_anything_fails() {
                page_alloc::every_granule_of_4_kib_pages_is_carved_before_anything_fails::<$kind>();
                page_alloc::every_granule_of_16_kib_pages_is_carved_before_anything_fails::<$kind>();
                page_alloc::every_granule_of_64_kib_pages_is_carved_before_anything_fails::<$kind>();
            }

            #[test]
            #[cfg_attr(miri, ignore = "too much memory")]
            fn granules_are_carved_where_the_cpu_has_no_large_leaves() {
                page_alloc::granules_are_carved_where_the_cpu_has_no_large_leaves::<$kind>();
            }

            #[test]
            #[cfg_attr(miri, ignore = "too much memory")]
            fn a_carved_granule_holds_what_is_written() {
                page_alloc::a_carved_granule_holds_what_is_written::<$kind>();
            }

            #[test]
            #[cfg_attr(miri, ignore = "too slow")]
            fn memory_in_two_domains_of_one_section_is_told_apart() {
                page_alloc::memory_in_two_domains_of_one_section_is_told_apart::<$kind>();
            }

            #[test]
            #[cfg_attr(miri, ignore = "too much memory")]
            fn added_memory_is_handed_out_like_all_other() {
                grow::added_memory_is_handed_out_like_all_other::<$kind>();
            }

            #[test]
            #[cfg_attr(all(miri, $left_out), ignore = "as another model")]
            fn a_small_machine_grows() {
                grow::a_small_machine_grows::<$kind>();
            }

            #[test]
            #[cfg_attr(all(miri, $left_out), ignore = "as another model")]
            fn storm_of_objects() {
                slab::storm_with_4_kib_pages::<$kind>();
            }

            #[test]
            #[cfg_attr(miri, ignore = "too slow")]
            fn storm_of_objects_with_16_and_64_kib_pages() {
                slab::storm_with_16_kib_pages::<$kind>();
                slab::storm_with_64_kib_pages::<$kind>();
            }
        }
    };
}

with!(vmemmap, OfVmemmap, any());
with!(flat, OfFlat, any());
with!(discontig, OfDiscontig, all());
with!(sparse_extreme, OfSparseExtreme, any());
with!(sparse_static, OfSparseStatic, all());
