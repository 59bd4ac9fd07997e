//! The drivers against models of the registers, which know nothing of the drivers but the manuals.

mod bcm2836;
mod gic2;
mod gic3;

use super::block::Block;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec::Vec;

/// A block of registers: what is written stays, but for those that [`Model::write`] of the device knows better.
#[derive(Default)]
struct Registers {
    values: BTreeMap<u64, u32>,
    /// Writes in their order.
    writes: Vec<(u64, u32)>,
}

/// How a device answers, where it is more than memory.
trait Device {
    /// What a read of the register gives, and does.
    fn read(&mut self, registers: &mut Registers, offset: u64) -> u32 {
        registers.get(offset)
    }

    /// What a write does.
    fn write(&mut self, registers: &mut Registers, offset: u64, value: u32) {
        registers.values.insert(offset, value);
    }

    /// Whether the bus knows the register.
    fn answers(&self, _: u64) -> bool {
        true
    }
}

impl Registers {
    fn get(&self, offset: u64) -> u32 {
        self.values.get(&offset).copied().unwrap_or(0)
    }
}

/// One block of a device under test; clones lead to the same.
struct Model<D> {
    inner: Rc<RefCell<(Registers, D)>>,
    size: u64,
}

impl<D> Clone for Model<D> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner), size: self.size }
    }
}

impl<D: Device> Model<D> {
    fn new(size: u64, device: D) -> Self {
        Self { inner: Rc::new(RefCell::new((Registers::default(), device))), size }
    }

    fn set(&self, offset: u64, value: u32) {
        self.inner.borrow_mut().0.values.insert(offset, value);
    }

    fn get(&self, offset: u64) -> u32 {
        self.inner.borrow().0.get(offset)
    }

    fn writes(&self) -> Vec<(u64, u32)> {
        self.inner.borrow().0.writes.clone()
    }
}

impl<D: Device> Block for Model<D> {
    fn size(&self) -> u64 {
        self.size
    }

    fn probe(&self, offset: u64) -> Option<u32> {
        let answers = self.inner.borrow().1.answers(offset);
        answers.then(|| self.read(offset))
    }

    fn read(&self, offset: u64) -> u32 {
        let (registers, device) = &mut *self.inner.borrow_mut();
        assert!(offset + 4 <= self.size, "a read beyond the block, at {offset:#x}");
        assert!(device.answers(offset), "a bus error at {offset:#x}");
        device.read(registers, offset)
    }

    fn write(&self, offset: u64, value: u32) {
        let (registers, device) = &mut *self.inner.borrow_mut();
        assert!(offset + 4 <= self.size, "a write beyond the block, at {offset:#x}");
        assert!(device.answers(offset), "a bus error at {offset:#x}");
        registers.writes.push((offset, value));
        device.write(registers, offset, value);
    }
}
