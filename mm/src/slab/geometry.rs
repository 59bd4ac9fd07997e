//! How large a slab is, and how many objects it holds.
//!
//! A larger slab wastes less behind its last object and is asked for less often, but is harder to get and longer to
//! fill. Linux 6.1's rule: enough objects for the number of CPUs, in the least order up to 3 that wastes at most a
//! sixteenth; if there is none, an eighth, then a quarter; then with one object fewer, and so on. Objects that do not
//! fit an order-3 slab get the least order that holds one. Pure arithmetic.
//!
//! Linux: `calculate_order`, `calc_slab_order`, `set_min_partial` in `mm/slub.c`.

#![forbid(unsafe_code)]

use crate::addr::Order;

/// Larger slabs are made only for objects that need them.
const PREFERRED_MAX: Order = match Order::new(3) {
    Some(order) => order,
    None => Order::MAX,
};
/// More objects than this are not counted.
const MOST_OBJECTS: u64 = 32767;
/// The least size of an object: a free one holds the link to the next.
pub(crate) const LEAST_SIZE: u64 = 8;

/// How a cache's slabs are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Bytes from one object to the next.
    pub stride: u32,
    /// The order of a slab.
    pub order: Order,
    /// Objects in a slab.
    pub objects: u32,
    /// Slabs with free objects that each node keeps, even empty ones.
    pub min_partial: u32,
}

impl Geometry {
    /// For objects of `size` bytes, aligned to `align` (a power of two), on a machine with `cpus` CPUs. `None` when
    /// not even one fits a block of the highest order, or when the alignment is larger than a page or no power of two.
    #[must_use]
    pub const fn of(size: u64, align: u64, cpus: u32, page_shift: u32) -> Option<Self> {
        if !align.is_power_of_two() || align > 1 << page_shift || size > Order::MAX.frames() << page_shift {
            return None;
        }
        let align = if align < LEAST_SIZE { LEAST_SIZE } else { align };
        let size = if size < LEAST_SIZE { LEAST_SIZE } else { size };
        let stride = size.next_multiple_of(align);
        let Some(order) = order_of(stride, cpus, page_shift) else { return None };
        let objects = (order.frames() << page_shift) / stride;
        if objects == 0 {
            return None;
        }
        let half_log = size.ilog2() / 2;
        let min_partial = if half_log < 5 {
            5
        } else if half_log > 10 {
            10
        } else {
            half_log
        };
        Some(Self { stride: stride as u32, order, objects: objects as u32, min_partial })
    }

    /// Bytes of a slab.
    #[must_use]
    pub const fn slab_bytes(&self, page_shift: u32) -> u64 {
        self.order.frames() << page_shift
    }
}

/// Free objects that Linux keeps at a CPU, besides those of its own slab, for objects of `size` bytes.
#[must_use]
pub const fn cpu_partial(size: u64, page_shift: u32) -> u32 {
    match size {
        size if size >= 1 << page_shift => 6,
        1024.. => 24,
        256.. => 52,
        _ => 120,
    }
}

const fn order_of(stride: u64, cpus: u32, page_shift: u32) -> Option<Order> {
    let fitting = (PREFERRED_MAX.frames() << page_shift) / stride;
    // The number of bits of the CPU count grows with its logarithm.
    let wished = 4 * ((u32::BITS - cpus.leading_zeros()) as u64 + 1);
    let mut objects = if wished < fitting { wished } else { fitting };
    while objects > 1 {
        let mut fraction = 16;
        while fraction >= 4 {
            if let Some(order) = least_order(stride, objects, PREFERRED_MAX, fraction, page_shift) {
                return Some(order);
            }
            fraction /= 2;
        }
        objects -= 1;
    }
    match least_order(stride, 1, PREFERRED_MAX, 1, page_shift) {
        Some(order) => Some(order),
        None => least_order(stride, 1, Order::MAX, 1, page_shift),
    }
}

/// The least order up to `max` that holds `objects` and wastes at most one `fraction`th.
const fn least_order(stride: u64, objects: u64, max: Order, fraction: u64, page_shift: u32) -> Option<Order> {
    if (1 << page_shift) / stride > MOST_OBJECTS {
        return Some(match Order::for_bytes(stride * MOST_OBJECTS, page_shift) {
            Some(order) => match Order::new(order.as_u8().saturating_sub(1)) {
                Some(order) => order,
                None => max,
            },
            None => max,
        });
    }
    let mut number = match Order::for_bytes(stride * objects, page_shift) {
        Some(order) => order.as_u8(),
        None => return None,
    };
    while number <= max.as_u8() {
        let bytes = 1u64 << (page_shift + number as u32);
        if bytes % stride <= bytes / fraction {
            return Order::new(number);
        }
        number += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(size: u64, cpus: u32) -> (u8, u32) {
        let geometry = Geometry::of(size, 8, cpus, 12).unwrap();
        (geometry.order.as_u8(), geometry.objects)
    }

    #[test]
    fn kmalloc_slabs_are_those_of_linux() {
        // Read off /proc/slabinfo of Linux 6.1 on machines with 1 and 4 CPUs.
        for (size, one, four) in [
            (8, (0, 512), (0, 512)),
            (64, (0, 64), (0, 64)),
            (192, (0, 21), (0, 21)),
            (256, (0, 16), (0, 16)),
            (512, (0, 8), (1, 16)),
            (1024, (1, 8), (2, 16)),
            (2048, (2, 8), (3, 16)),
            (4096, (3, 8), (3, 8)),
            (8192, (3, 4), (3, 4)),
        ] {
            assert_eq!(of(size, 1), one, "kmalloc-{size} with 1 CPU");
            assert_eq!(of(size, 4), four, "kmalloc-{size} with 4 CPUs");
        }
    }

    #[test]
    fn large_objects_get_the_least_order_that_holds_one() {
        assert_eq!(of(40_000, 4), (4, 1));
        assert_eq!(of(4 << 20, 4), (10, 1));
        assert_eq!(Geometry::of((4 << 20) + 1, 8, 4, 12), None);
    }

    #[test]
    fn every_size_fits_and_keeps_its_alignment() {
        for shift in [12, 14, 16] {
            for size in (0..70_000).step_by(if cfg!(miri) { 1777 } else { 13 }) {
                for align in [1, 8, 64, 1 << shift] {
                    for cpus in [1, 2, 64, 4096] {
                        let found = Geometry::of(size, align, cpus, shift).unwrap();
                        assert!(found.objects >= 1 && found.objects <= 0xffff);
                        assert!(u64::from(found.stride) >= size && u64::from(found.stride) % align == 0);
                        assert!(u64::from(found.stride) * u64::from(found.objects) <= found.slab_bytes(shift));
                    }
                }
            }
        }
        assert_eq!(Geometry::of(8, 3, 1, 12), None);
        assert_eq!(Geometry::of(8, 8192, 1, 12), None);
    }

    #[test]
    fn partial_slabs_to_keep() {
        for (size, kept) in [(8, 5), (1024, 5), (4096, 6), (8192, 6), (4 << 20, 10)] {
            assert_eq!(Geometry::of(size, 8, 1, 12).unwrap().min_partial, kept);
        }
    }
}
