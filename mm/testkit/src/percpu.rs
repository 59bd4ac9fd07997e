//! The per-CPU variables of one CPU: each is copied from its template when it is first asked for.

use mm::arch::Template;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The copies, by the address of their template.
#[derive(Debug, Default)]
pub(crate) struct Area(Mutex<HashMap<usize, Copy>>);

#[derive(Clone, Copy, Debug)]
struct Copy {
    first: *mut u8,
    layout: Layout,
}

impl Area {
    /// The copy of the variable, which lives as long as this.
    pub(crate) fn copy(&self, template: Template) -> *mut u8 {
        let mut copies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = copies.entry(template.address.addr()).or_insert_with(|| {
            let layout = template.layout;
            // One byte more, so that a variable without bytes has an address too.
            let layout = Layout::from_size_align(layout.size() + 1, layout.align()).unwrap_or(layout);
            // SAFETY: the layout has bytes.
            let first = unsafe { alloc(layout) };
            if first.is_null() {
                handle_alloc_error(layout);
            }
            // SAFETY: the template is a static of that layout, which nobody ever writes, and the copy is new.
            unsafe { first.copy_from_nonoverlapping(template.address, template.layout.size()) };
            Copy { first, layout }
        });
        copy.first
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        for copy in self.0.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            // SAFETY: `alloc` gave this with this layout, and nobody has a reference that outlives the machine.
            unsafe { dealloc(copy.first, copy.layout) };
        }
    }
}
