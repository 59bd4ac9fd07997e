use super::*;

/// An image with words at byte offsets.
fn image(bytes: usize, words: &[(usize, &[u64])]) -> Vec<u8> {
    let mut image = vec![0; bytes];
    for (at, words) in words {
        for (index, word) in words.iter().enumerate() {
            put(&mut image, at + index * 8, *word);
        }
    }
    image
}

fn request(which: Request) -> [u64; 6] {
    let [three, four] = which.id();
    [COMMON[0], COMMON[1], three, four, 0, 0]
}

fn tag(revision: u64) -> [u64; 3] {
    [REVISION[0], REVISION[1], revision]
}

#[test]
fn ids_differ() {
    for (index, one) in Request::ALL.iter().enumerate() {
        assert!(Request::ALL.iter().skip(index + 1).all(|two| one.id() != two.id() && one.name() != two.name()));
    }
}

#[test]
fn requests_between_the_markers_are_found_and_answered() {
    let (hhdm, stack) = (request(Request::Hhdm), request(Request::StackSize));
    let mut image = image(
        512,
        &[(0, &START), (32, &tag(6)), (56, &hhdm), (104, &stack), (152, &[0x20000]), (160, &END), (200, &hhdm)],
    );
    let found = find(&image).unwrap();
    assert_eq!(found.revision.number(), 6);
    assert!(found.asks(Request::Hhdm) && found.asks(Request::StackSize) && !found.asks(Request::Rsdp));
    assert_eq!(found.argument(&image, Request::StackSize, 0), Ok(Some(0x20000)));
    assert_eq!(found.argument(&image, Request::EntryPoint, 0), Ok(None));
    assert_eq!(found.request_revision(&image, Request::Hhdm), Some(0));

    found.answer(&mut image, Request::Hhdm, 0x1234);
    found.answer(&mut image, Request::Rsdp, 0x5678);
    found.answer_revision(&mut image);
    assert_eq!(word(&image, 96), Some(0x1234));
    assert_eq!((word(&image, 40), word(&image, 48)), (Some(6), Some(0)));
    // The one outside the markers is untouched.
    assert_eq!(word(&image, 240), Some(0));
}

#[test]
fn the_base_revision_says_whether_markers_bind() {
    let hhdm = request(Request::Hhdm);
    for (asked, inside) in [(0, true), (1, true), (2, false), (3, false), (6, false), (7, false)] {
        let image = image(256, &[(0, &START), (32, &tag(asked)), (56, &END), (80, &hhdm)]);
        let found = find(&image).unwrap();
        assert_eq!(found.asks(Request::Hhdm), inside, "revision {asked}");
        assert_eq!(found.revision.number(), asked.min(6));
    }
    // Without markers the whole image counts, without a tag it is revision 0.
    let plain = image(256, &[(80, &hhdm)]);
    let found = find(&plain).unwrap();
    assert!(found.asks(Request::Hhdm));
    assert_eq!(found.revision.number(), 0);
}

#[test]
fn a_revision_that_is_newer_than_known_is_answered_by_the_newest() {
    let mut image = image(64, &[(0, &tag(9))]);
    let found = find(&image).unwrap();
    found.answer_revision(&mut image);
    assert_eq!((word(&image, 8), word(&image, 16)), (Some(6), Some(9)));
}

#[test]
fn what_stands_there_twice_is_an_error() {
    let hhdm = request(Request::Hhdm);
    let twice = image(256, &[(0, &hhdm), (64, &hhdm)]);
    assert_eq!(find(&twice).unwrap_err(), RequestError::Twice(Request::Hhdm));
    for marker in [&START[..], &END, &tag(6)] {
        let twice = image(256, &[(0, marker), (64, marker)]);
        assert_eq!(find(&twice).unwrap_err(), RequestError::MarkerTwice);
    }
    let order = image(256, &[(0, &END), (64, &START), (128, &tag(6))]);
    assert_eq!(find(&order).unwrap_err(), RequestError::Order);
}

#[test]
fn what_is_not_aligned_is_no_request() {
    let hhdm = request(Request::Hhdm);
    let odd = image(256, &[(4, &hhdm)]);
    assert_eq!(find(&odd).unwrap_err(), RequestError::Nothing);
    let odd = image(256, &[(4, &hhdm), (128, &tag(3))]);
    assert!(!find(&odd).unwrap().asks(Request::Hhdm));
    assert_eq!(find(&[]).unwrap_err(), RequestError::Nothing);
}

#[test]
fn a_request_at_the_very_end_is_cut_off() {
    let stack = request(Request::StackSize);
    for (bytes, expected) in [(48, None), (47, Some(RequestError::Cut(Request::StackSize)))] {
        let mut image = image(64, &[(0, &stack)]);
        image.truncate(bytes);
        assert_eq!(find(&image).err(), expected);
    }
    let mut whole = image(64, &[(0, &stack)]);
    whole.truncate(48);
    let found = find(&whole).unwrap();
    assert_eq!(found.argument(&whole, Request::StackSize, 0), Err(RequestError::Cut(Request::StackSize)));
    whole.truncate(40);
    // An image that shrank since: nothing is written outside it.
    found.answer(&mut whole, Request::StackSize, u64::MAX);
    assert_eq!(whole.len(), 40);
}

#[test]
fn rules_change_with_the_revision() {
    let rules = |number: u64| {
        let r = BaseRevision::for_kernel(number);
        let flags = [
            r.maps_identity(),
            r.maps_reserved_above_4g(),
            r.markers_bind(),
            r.maps_first_4g(),
            r.maps_acpi(),
            r.rsdp_is_physical(),
            r.maps_runtime_services(),
            r.tables_are_physical(),
        ];
        flags.map(|flag| if flag { '1' } else { '0' }).iter().collect::<String>()
    };
    let expected = ["11011000", "00011000", "00111000", "00100101", "00101001", "00101010", "00101010"];
    for (number, expected) in (0..).zip(expected) {
        assert_eq!(rules(number), expected, "revision {number}");
    }
    assert_eq!(rules(u64::MAX), rules(6));
}
