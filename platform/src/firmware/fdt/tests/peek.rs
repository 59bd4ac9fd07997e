//! The first look at a root's `compatible`.

use super::*;
use crate::firmware::fdt::peek::{LONGEST, root_compatible};
use crate::read::{MemoryImage, PhysRead, Unreadable};

const AT: u64 = 0x4000_0000;

/// Counts what is read, so that a look that goes on and on is seen.
struct Counted<'a>(MemoryImage<'a>, usize);

impl PhysRead for Counted<'_> {
    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> Result<(), Unreadable> {
        self.1 += 1;
        self.0.read(at, into)
    }
}

fn look_at(at: u64, blob: &[u8]) -> Option<Vec<String>> {
    let pieces = [(PhysAddr::new(at), blob)];
    let mut read = Counted(MemoryImage::new(&pieces), 0);
    let found = root_compatible(PhysAddr::new(at), &mut read);
    assert!(read.1 <= 4 + 6 * 64, "{} reads", read.1);
    found.map(|found| found.strings().filter(|string| !string.is_empty()).map(str::to_owned).collect())
}

fn look(blob: &[u8]) -> Option<Vec<String>> {
    look_at(AT, blob)
}

#[test]
fn a_root_says_what_it_is_called() {
    assert_eq!(look(VIRT), Some(vec!["linux,dummy-virt".to_owned()]));
    let names = ["acme,board", "acme,chip"].map(str::to_owned).to_vec();
    let blob = Builder::new().nop().begin("/a long name").nop().prop("model", b"compatible\0").prop("empty", &[]);
    let blob = blob.prop("compatible", b"acme,board\0acme,chip\0").begin("child").end().done();
    assert_eq!(look(&blob), Some(names.clone()));
    // As the checked reader has it.
    let mut checked = blob.clone();
    assert_eq!(check(&mut checked).expect("a sound tree").compatible().map(str::to_owned).collect::<Vec<_>>(), names);
}

#[test]
fn what_is_not_the_roots_is_not_taken() {
    let compatible = b"acme,board\0";
    let child = Builder::root(2, 2).begin("child").prop("compatible", compatible).end().done();
    assert_eq!(look(&child), None);
    let behind = Builder::root(2, 2).begin("child").end().prop("compatible", compatible).done();
    assert_eq!(look(&behind), None);
    let before = Builder::new().prop("compatible", compatible).begin("").done();
    assert_eq!(look(&before), None);
    let longer = Builder::root(2, 2).prop("compatibles", compatible).done();
    assert_eq!(look(&longer), None);
    let not_ended = Builder::root(2, 2).prop("compatible", b"acme").done();
    assert_eq!(look(&not_ended), None);
    for (length, taken) in [(LONGEST, true), (LONGEST + 1, false)] {
        let mut value = vec![b'a'; length];
        value[length - 1] = 0;
        let blob = Builder::root(2, 2).prop("compatible", &value).done();
        assert_eq!(look(&blob).is_some(), taken, "{length}");
    }
    let many = (0..64).fold(Builder::new().begin(""), |tree, _| tree.prop("x", &[0]));
    assert_eq!(look(&many.prop("compatible", compatible).done()), None);
    assert_eq!(look(&Builder::new().begin(&"a".repeat(400)).prop("compatible", compatible).done()), None);
}

#[test]
fn where_there_is_no_tree_nothing_is_found() {
    assert_eq!(look_at(AT + 4, VIRT), None, "not a multiple of 8");
    assert_eq!(look_at(0u64.wrapping_sub(8), &VIRT[..8]), None, "the end of the address space");
    assert_eq!(look(&[]), None);
    let mut other = VIRT.to_vec();
    other[0] ^= 1;
    assert_eq!(look(&other), None, "another magic");
    let mut short = VIRT.to_vec();
    short[4..8].copy_from_slice(&48u32.to_be_bytes());
    assert_eq!(look(&short), None, "past its own size");
}

#[test]
fn damage_ends_the_look() {
    let mut random = Random::new(21);
    for _ in 0..20_000 {
        let mut blob = VIRT[..VIRT.len().min(1024)].to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(blob.len());
            blob[at] = random.next() as u8;
        }
        let _ = look(&blob);
    }
}
