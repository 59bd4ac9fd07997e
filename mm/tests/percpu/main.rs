//! The first chunk: what Linux printed on real boots, and memory of CPUs on machines with holes, with nodes without
//! memory and nodes without CPUs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail like tests")]

#[path = "../facts/mod.rs"]
mod facts;
mod machines;
#[path = "../ram/mod.rs"]
mod ram;
mod room;

use facts::{Facts, lines, machines as booted};
use mm::percpu::{FirstChunk, text};

/// With as many bytes as Linux links, the lines are Linux's, to the letter.
#[test]
fn linux_made_the_same_groups_and_units() {
    for (name, facts) in booted() {
        let mut facts = Facts::parse(facts);
        let expected = facts.section("percpu").unwrap().to_vec();
        let static_bytes = if facts.machine.arm64 { 87_272 } else { 217_088 };
        let ram = facts.machine.window();
        let (mut nodes, _) = facts.machine.assign(&ram, &mut |_| {});
        let chunk = FirstChunk::allocate(&mut nodes, static_bytes).unwrap();
        let mut printed = String::new();
        text::write(&chunk, 4096, &mut printed).unwrap();
        assert_eq!(lines(&printed), expected, "{name}");
    }
}
