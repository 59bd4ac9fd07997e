use super::*;
use mm::machine::Problem;

fn error(bytes: &[u8]) -> FdtError {
    check(&mut bytes.to_vec()).expect_err("let through")
}

fn fault(builder: Builder) -> Fault {
    match error(&builder.open(17)) {
        FdtError::Structure { fault, .. } => fault,
        other => panic!("{other:?}"),
    }
}

fn with_word(bytes: &[u8], offset: usize, value: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(*bytes[offset..].first_chunk().unwrap())
}

#[test]
fn sound_blobs_pass_unchanged() {
    for sound in [VIRT, BARE] {
        let mut bytes = sound.to_vec();
        let blob = check(&mut bytes).unwrap();
        assert_eq!(blob.bytes(), sound);
        assert_eq!(blob.total_size(), sound.len() as u64);
    }
}

#[test]
fn what_follows_the_blob_does_not_matter() {
    let mut bytes = [VIRT, &[0xff; 777]].concat();
    assert_eq!(check(&mut bytes).unwrap().total_size(), VIRT.len() as u64);
}

#[test]
fn truncated_blobs_are_refused_at_every_length() {
    for length in (0..BARE.len()).step_by(if cfg!(miri) { 61 } else { 1 }) {
        // As it is, and with a header that says so.
        let cut = &BARE[..length];
        assert!(check(&mut cut.to_vec()).is_err());
        if length >= 8 {
            assert!(check(&mut with_word(cut, 4, length as u32)).is_err());
        }
    }
}

#[test]
fn each_field_of_the_header_is_checked() {
    assert_eq!(error(&with_word(BARE, 0, 0xedfe_0dd0)), FdtError::Magic(0xedfe_0dd0));
    assert_eq!(error(&with_word(BARE, 4, u32::MAX)), FdtError::TotalSize(u32::MAX));
    assert_eq!(error(&with_word(BARE, 4, 39)), FdtError::TotalSize(39));
    // A header has room in 40 bytes, what it names has not.
    assert_eq!(error(&with_word(BARE, 4, 40)), FdtError::Block(Part::Strings));
    assert_eq!(error(&with_word(BARE, 8, 0x7fff_fffc)), FdtError::Block(Part::Structure));
    assert_eq!(error(&with_word(BARE, 8, 90)), FdtError::Block(Part::Structure));
    assert_eq!(error(&with_word(BARE, 12, u32::MAX)), FdtError::Block(Part::Strings));
    assert_eq!(error(&with_word(BARE, 16, u32::MAX - 7)), FdtError::Block(Part::ReserveMap));
    assert_eq!(error(&with_word(BARE, 16, 41)), FdtError::Block(Part::ReserveMap));
    assert_eq!(error(&with_word(BARE, 20, 15)), FdtError::Version(15));
    assert_eq!(error(&with_word(BARE, 24, 18)), FdtError::Version(17));
    assert_eq!(error(&with_word(BARE, 32, u32::MAX)), FdtError::Block(Part::Strings));
    assert_eq!(error(&with_word(BARE, 36, u32::MAX)), FdtError::Block(Part::Structure));
    assert_eq!(error(&[]), FdtError::TooShort);
    assert_eq!(error(&BARE[..39]), FdtError::TooShort);
}

/// A later version that says that this one's readers understand it is read, and stays what it is.
#[test]
fn versions_are_read_as_far_as_they_are_compatible() {
    for (version, compatible) in [(17, 17), (18, 17), (99, 16)] {
        let bytes = with_word(&with_word(BARE, 20, version), 24, compatible);
        let mut checked = bytes.clone();
        assert_eq!(check(&mut checked).map(|blob| blob.bytes() == bytes), Ok(true), "{version}");
    }
}

#[test]
fn errors_name_the_part() {
    let names: Vec<String> = [Part::Header, Part::ReserveMap, Part::Structure, Part::Strings]
        .map(|part| FdtError::Block(part).to_string())
        .to_vec();
    assert_eq!(
        names,
        ["header", "reservation block", "structure block", "strings block"]
            .map(|name| format!("the {name} does not lie in the blob"))
    );
    let overlap = FdtError::Overlap(Part::Header, Part::Strings).to_string();
    assert_eq!(overlap, "the header overlaps the strings block");
}

#[test]
fn blocks_that_overlap_are_refused() {
    let structure = u32::from_be_bytes(*BARE[8..].first_chunk().unwrap());
    assert_eq!(error(&with_word(BARE, 12, 0)), FdtError::Overlap(Part::Header, Part::Strings));
    assert_eq!(error(&with_word(BARE, 12, structure)), FdtError::Overlap(Part::Structure, Part::Strings));
    assert_eq!(error(&with_word(BARE, 16, structure)), FdtError::ReserveMap);
    // A structure block without a size reaches up to the next block, not to one that begins where it does.
    let old = Builder::root(1, 1).end().token(9).open(16);
    let structure = word(&old, 8);
    assert_eq!(error(&with_word(&old, 12, structure)), FdtError::Overlap(Part::Structure, Part::Strings));
    // The entry that ends the reservation block is part of it.
    let mut tree = Builder::new();
    tree.strings = vec![0; 32];
    let blob = tree.begin("").prop("after zeroes", &[]).done();
    let inside = word(&blob, 12).next_multiple_of(8);
    assert_eq!(error(&with_word(&blob, 16, inside)), FdtError::Overlap(Part::ReserveMap, Part::Strings));
}

/// Only that they lie apart is asked: the specification's own order is a recommendation.
#[test]
fn blocks_may_lie_in_any_order_without_a_gap() {
    let blob = Builder::root(1, 1).memory("m", &[0x1000, 0x2000], &[]).done();
    let (structure, strings) = (word(&blob, 8) as usize, word(&blob, 12) as usize);
    let padded = |block: &[u8]| [block, &vec![0; block.len().next_multiple_of(8) - block.len()]].concat();
    let (reserve, structure, strings) =
        (&blob[40..structure], padded(&blob[structure..strings]), padded(&blob[strings..]));
    let parts = [(8, &structure[..]), (12, &strings), (16, reserve)];
    let header = with_word(&with_word(&blob[..40], 32, strings.len() as u32), 36, structure.len() as u32);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut moved = header.clone();
        for (field, part) in order.map(|index: usize| parts[index]) {
            moved = with_word(&moved, field, moved.len() as u32);
            moved.extend(part);
        }
        moved = with_word(&moved, 4, moved.len() as u32);
        assert_eq!(described(moved).usable(), [(0x1000, 0x3000)], "{order:?}");
    }
}

#[test]
fn a_reservation_block_without_an_end_is_refused() {
    let mut bytes = Builder::root(1, 1).done();
    let total = bytes.len() as u32;
    bytes.resize(bytes.len().next_multiple_of(8) + 40, 0xaa);
    let bytes = with_word(&bytes, 4, bytes.len() as u32);
    assert_eq!(error(&with_word(&bytes, 16, total.next_multiple_of(8))), FdtError::ReserveMap);
}

#[test]
fn the_shape_of_the_tree_is_checked() {
    assert_eq!(fault(Builder::new().begin("").end()), Fault::Ends);
    assert_eq!(fault(Builder::new().token(9)), Fault::Root);
    assert_eq!(fault(Builder::new().begin("").end().begin("").end().token(9)), Fault::Root);
    assert_eq!(fault(Builder::new().begin("").token(9)), Fault::Balance);
    assert_eq!(fault(Builder::new().end()), Fault::Balance);
    assert_eq!(fault(Builder::new().begin("").end().end()), Fault::Balance);
    assert_eq!(fault(Builder::new().begin("").token(7)), Fault::Token);
    assert_eq!(fault(Builder::new().prop("x", &[]).begin("")), Fault::Property);
    assert_eq!(fault(Builder::new().begin("").begin("a").end().prop("x", &[])), Fault::Property);
    assert_eq!(fault(Builder::new().token(1).raw(&[b'a'; 8])), Fault::NodeName);
    assert_eq!(fault(Builder::new().token(1).raw(b"\xff\xfe\0")), Fault::NodeName);
    assert_eq!(fault(Builder::new().begin("").token(3).token(5).token(0).raw(&[0; 4])), Fault::Length);
    assert_eq!(fault(Builder::new().begin("").token(3).token(u32::MAX).token(0)), Fault::Length);
    assert_eq!(fault(Builder::new().begin("").token(3).token(0)), Fault::Ends);
    assert_eq!(fault(Builder::new().begin("").token(3).token(0).token(99).end().token(9)), Fault::PropertyName);
    let mut builder = Builder::new().begin("").prop("name", &[]).end().token(9);
    builder.strings.pop();
    assert_eq!(fault(builder), Fault::PropertyName);
    let mut builder = Builder::new().begin("").prop("name", &[]).end().token(9);
    builder.strings[1] = 0xff;
    assert_eq!(fault(builder), Fault::PropertyName);
}

#[test]
fn depth_is_limited_where_the_walker_is() {
    let nested = |depth: u32| {
        let open = (1..depth).fold(Builder::new().begin(""), |builder, _| builder.begin("n"));
        (0..depth).fold(open, |builder, _| builder.end()).token(9)
    };
    let mut bytes = nested(MAX_DEPTH).open(17);
    let blob = check(&mut bytes).unwrap();
    assert_eq!(listing(&blob).len(), MAX_DEPTH as usize);
    assert_eq!(fault(nested(MAX_DEPTH + 1)), Fault::Depth);
}

#[test]
fn a_fault_is_told_with_its_place() {
    let bytes = Builder::new().begin("").token(7).open(17);
    let error = error(&bytes);
    assert_eq!(error, FdtError::Structure { offset: 64, fault: Fault::Token });
    assert_eq!(error.to_string(), "there is no such token at offset 0x40");
    assert_eq!(error.problem(), Problem::Malformed { offset: 64, what: "there is no such token" });
    assert_eq!(bytes[64..68], [0, 0, 0, 7]);
}

#[test]
fn a_refused_blob_is_left_as_it_was() {
    let before = Builder::new().nop().begin("").nop().token(7).open(17);
    let mut bytes = before.clone();
    assert!(check(&mut bytes).is_err());
    assert_eq!(bytes, before);
}

#[test]
fn version_16_becomes_17() {
    let mut bytes = Builder::root(2, 2).memory("memory@0", &[0, 0x1000, 0, 0x2000], &[]).end().nop().token(9).open(16);
    let blob = check(&mut bytes).unwrap();
    assert_eq!(blob.bytes()[20..24], [0, 0, 0, 17]);
    assert_eq!(Recorder::of(|sink| blob.describe(sink)).usable(), [(0x1000, 0x3000)]);
    // And then passes as that.
    assert!(check(&mut bytes).is_ok());
}

#[test]
fn a_tree_with_nops_reads_as_one_that_never_had_what_they_replace() {
    let (mut with, mut without) = (NOPS.to_vec(), BARE.to_vec());
    let (with, without) = (check(&mut with).unwrap(), check(&mut without).unwrap());
    assert_eq!(listing(&with), listing(&without));
    assert_eq!(Recorder::of(|sink| with.describe(sink)), Recorder::of(|sink| without.describe(sink)));
    assert_eq!(with.stdout(), without.stdout());
    assert_eq!(with.psci(), without.psci());
}

#[test]
fn nops_vanish_wherever_they_stand() {
    let build = |nop: fn(Builder) -> Builder| {
        let mut tree = nop(nop(Builder::new()).begin("").prop("a", b"123"));
        tree = nop(nop(tree.prop("b", &[])).begin("one").prop("a", b"1"));
        tree = nop(nop(nop(tree.end()).begin("two")).end());
        nop(nop(tree.end()).token(9)).open(17)
    };
    let mut with = build(Builder::nop);
    let mut without = build(|builder| builder);
    let with = check(&mut with).unwrap();
    let without = check(&mut without).unwrap();
    assert_eq!(listing(&with), listing(&without));
    assert_eq!(listing(&with).len(), 3);
    // The size in the header is that of what is left, and only ends follow it.
    let word = |offset: usize| u32::from_be_bytes(*with.bytes()[offset..].first_chunk().unwrap()) as usize;
    let (start, size) = (word(8), word(36));
    assert_eq!(with.bytes()[start..start + size], without.bytes()[word(8)..][..size]);
    assert!(with.bytes()[start + size - 4..word(12)].chunks(4).all(|token| token == [0, 0, 0, 9]));
}
