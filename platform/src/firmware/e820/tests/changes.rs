//! `mem=`, `memmap=` and handed-in changes: what Linux 6.1 printed for them, and a table of entries as its oracle.

use super::*;
use crate::cmdline::Cmdline;
use mm::machine::Warning;

/// QEMU's q35 with 2 GiB.
const Q35_2G: &[(u64, u64, u32)] = &[
    (0, 0x9fc00, 1),
    (0x9fc00, 0x400, 2),
    (0xf0000, 0x10000, 2),
    (0x10_0000, 0x7fee_0000, 1),
    (0x7ffe_0000, 0x2_0000, 2),
    (0xb000_0000, 0x1000_0000, 2),
    (0xfed1_c000, 0x4000, 2),
    (0xfffc_0000, 0x4_0000, 2),
    (0xfd_0000_0000, 0x3_0000_0000, 2),
];

fn with_cmdline<T>(
    entries: &[(u64, u64, u32)],
    cmdline: &str,
    run: impl FnOnce(&PcMap<'_>, &mut MemoryImage<'_>) -> T,
) -> T {
    let cmdline = Cmdline::new(cmdline);
    with(entries, |map, image| run(&PcMap { cmdline: Some(&cmdline), ..map.into() }, image))
}

fn describe(entries: &[(u64, u64, u32)], cmdline: &str) -> Recorder {
    with_cmdline(entries, cmdline, |map, image| Recorder::of(|sink| map.describe(image, sink)))
}

fn changes(entries: &[(u64, u64, u32)], cmdline: &str) -> String {
    with_cmdline(entries, cmdline, |map, image| {
        let mut text = String::new();
        map.print_changes(image, &mut text).unwrap();
        text
    })
}

/// The ranges of the user's map, one letter each for its type: start-last.
fn user_map(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("user: [mem 0x")).collect()
}

#[test]
fn mem_ends_ram_and_leaves_what_is_reserved() {
    let mut map = Q35_2G.to_vec();
    map.push((4 * GIB, 2 * GIB, 1));
    let text = changes(&map, "console=ttyS0 mem=1G quiet");
    assert!(text.starts_with(
        "e820: remove [mem 0x40000000-0xfffffffffffffffe] usable\n\
         user-defined physical RAM map:\n\
         user: [mem 0x0000000000000000-0x000000000009fbff] usable\n"
    ));
    assert_eq!(user_map(&text).len(), 9);
    assert_eq!(user_map(&text)[3], "0000000000100000-0x000000003fffffff] usable");
    assert_eq!(user_map(&text)[4], "000000007ffe0000-0x000000007fffffff] reserved");
    assert!(text.ends_with("last_pfn = 0x40000 max_arch_pfn = 0x400000000\n"));
    assert_eq!(describe(&map, "mem=1G").usable(), [(0x1000, 0x9_fc00), (0x10_0000, GIB)]);
    assert_eq!(describe(&map, "memmap=1G").usable(), [(0x1000, 0x9_fc00), (0x10_0000, GIB)]);
}

#[test]
fn reserved_pieces_cut_ram() {
    let recorder = describe(Q35_2G, "memmap=64M$0x30000000 memmap=12K$0x50003000");
    assert_eq!(
        recorder.usable(),
        [(0x1000, 0x9_fc00), (0x10_0000, 0x3000_0000), (0x3400_0000, 0x5000_3000), (0x5000_6000, 0x7ffe_0000),]
    );
    let piece = recorder.banks.iter().find(|bank| bank.range.start().as_u64() == 0x3000_0000).unwrap();
    assert_eq!((piece.kind, piece.source), (Reserved, Source::entry(Table::CommandLine, 0)));
    assert!(recorder.warnings.is_empty());
    // Additions have no line of their own.
    assert!(changes(Q35_2G, "memmap=64M$0x30000000").starts_with("user-defined physical RAM map:\n"));
}

#[test]
fn persistent_memory_does_not_count_as_the_end_of_ram() {
    let text = changes(Q35_2G, "memmap=256M!1G");
    assert_eq!(user_map(&text)[4], "0000000040000000-0x000000004fffffff] persistent (type 12)");
    assert!(text.ends_with("last_pfn = 0x7ffe0 max_arch_pfn = 0x400000000\n"));
    let text = changes(Q35_2G, "memmap=2G!1G");
    assert!(text.ends_with("last_pfn = 0x40000 max_arch_pfn = 0x400000000\n"));
    // Two that touch stay two.
    assert_eq!(user_map(&changes(Q35_2G, "memmap=256M!1G,256M!1280M")).len(), 12);
}

#[test]
fn an_exact_map_forgets_the_firmwares() {
    let recorder = describe(Q35_2G, "memmap=exactmap,640K@0,0x63ff8@0x1001c000 memmap=1M#0x20000000");
    assert_eq!(
        recorder.banks(),
        [
            (0, 0x1000, Reserved, None),
            (0x1000, 0xa_0000, Usable, Some(0)),
            (0x1001_c000, 0x1007_fff8, Usable, Some(0)),
            (0x2000_0000, 0x2010_0000, AcpiData, Some(1)),
        ]
    );
    assert_eq!(recorder.banks[1].source.table, Table::CommandLine);
    // What was said before it is forgotten too.
    assert_eq!(describe(Q35_2G, "memmap=1G@0 memmap=exactmap memmap=1M@4G").usable(), [(4 * GIB, 4 * GIB + 0x10_0000)]);
}

#[test]
fn types_are_changed_added_and_taken_away() {
    let text = changes(Q35_2G, "memmap=1M%1G-1+7,1M%0xfd00000000-2,1M%3G+20,0x20000%0x7ffe0000-2+1,1%0");
    assert_eq!(
        text.lines().take(5).collect::<Vec<_>>(),
        [
            "e820: update [mem 0x40000000-0x400fffff] usable ==> persistent (type 7)",
            "e820: remove [mem 0xfd00000000-0xfd000fffff] reserved",
            "e820: update [mem 0x7ffe0000-0x7fffffff] reserved ==> usable",
            "e820: remove [mem 0x00000000-0x00000000] ",
            "user-defined physical RAM map:",
        ]
    );
    let expected = [
        "0000000000000001-0x000000000009fbff] usable",
        "000000000009fc00-0x000000000009ffff] reserved",
        "00000000000f0000-0x00000000000fffff] reserved",
        "0000000000100000-0x000000003fffffff] usable",
        "0000000040000000-0x00000000400fffff] persistent (type 7)",
        "0000000040100000-0x000000007fffffff] usable",
        "00000000b0000000-0x00000000bfffffff] reserved",
        "00000000c0000000-0x00000000c00fffff] type 20",
        "00000000fed1c000-0x00000000fed1ffff] reserved",
        "00000000fffc0000-0x00000000ffffffff] reserved",
        "000000fd00100000-0x000000ffffffffff] reserved",
    ];
    assert_eq!(user_map(&text), expected);
}

/// RAM that a change made names the change, beside RAM that the firmware names.
#[test]
fn why_a_bank_is_what_it_is() {
    let recorder =
        describe(&[(0x10_0000, GIB, 1), (4 * GIB, GIB, 2)], "root=/dev/vda memmap=1G@2G memmap=1G@0x40100000");
    let sources: Vec<_> = recorder.banks.iter().map(|bank| (bank.kind, bank.source)).collect();
    let user = |item| (Usable, Source::entry(Table::CommandLine, item));
    let firmware = |kind, entry| (kind, Source::entry(Table::E820, entry));
    assert_eq!(sources, [firmware(Usable, 0), user(2), firmware(Reserved, 1)]);
    assert_eq!(recorder.usable(), [(0x10_0000, GIB + 0x10_0000), (GIB + 0x10_0000, 3 * GIB)]);
}

#[test]
fn what_cannot_be_understood_is_one_warning_and_changes_nothing() {
    let ignored = |what, why| Problem::Ignored { what, why };
    let number = "no number where one should stand";
    let trailing = "something behind the number that does not belong to it";
    for (item, problem) in [
        ("mem=", ignored("mem=", number)),
        ("mem", ignored("mem=", number)),
        ("mem=nopentium", ignored("mem=", number)),
        ("mem=0", ignored("mem=", "RAM cannot end at 0")),
        ("mem=1Gx", ignored("mem=", trailing)),
        ("mem=99999999999999999999", ignored("mem=", "more than 64 bits")),
        ("memmap=", ignored("memmap=", number)),
        ("memmap", ignored("memmap=", number)),
        ("memmap=@1G", ignored("memmap=", number)),
        ("memmap=1G@", ignored("memmap=", number)),
        ("memmap=1G@1G@", ignored("memmap=", trailing)),
        ("memmap=1G&1G", ignored("memmap=", trailing)),
        ("memmap=1M%1G-1+1", ignored("memmap=", "a type cannot become itself")),
        ("memmap=1M%1G-1+2+3", ignored("memmap=", trailing)),
        ("memmap=1M%1G-", ignored("memmap=", number)),
        ("memmap=1M%1G-0x100000001", Problem::Value { what: "a type", value: 0x1_0000_0001 }),
        ("memmap=16E@0", ignored("memmap=", "more than 64 bits")),
        ("memmap=2M$0xffffffffffff0000", Problem::Wraps { start: 0xffff_ffff_ffff_0000, size: 2 << 20 }),
    ] {
        let recorder = describe(Q35_2G, &format!("quiet {item}"));
        let warning = Warning { source: Source::entry(Table::CommandLine, 1), problem };
        assert_eq!(recorder.warnings, [warning], "{item}");
        assert_eq!(recorder.banks, described(Q35_2G).banks, "{item}");
        assert!(!changes(Q35_2G, item).contains("user"), "{item}");
    }
    // One of several.
    assert_eq!(describe(Q35_2G, "memmap=1M$1G,x,1M$1025M").warnings.len(), 1);
}

#[test]
fn handed_in_changes_come_after_the_command_lines() {
    let source = Source::whole(Table::Kernel);
    let edits = [Edit { op: Op::Update { from: Kind::RAM, to: Kind::RESERVED }, range: range(GIB, 2 * GIB), source }];
    let cmdline = Cmdline::new("memmap=1G@1G");
    let map = [(0x10_0000, 0x10_0000, 1), (4 * GIB, GIB, 1)];
    with(&map, |map, image| {
        let map = PcMap { cmdline: Some(&cmdline), edits: &edits, ..map.into() };
        let recorder = Recorder::of(|sink| map.describe(image, sink));
        assert_eq!(recorder.usable(), [(0x10_0000, 0x20_0000), (4 * GIB, 5 * GIB)]);
        assert_eq!(recorder.banks[1].source, source);
        let mut text = String::new();
        map.print_changes(image, &mut text).unwrap();
        assert!(text.contains("e820: update [mem 0x40000000-0x7fffffff] usable ==> reserved\ne820: update [mem 0x0"));
    });
}

/// Of more types than there is room for the greatest is not forgotten.
#[test]
fn many_types_over_one_byte() {
    let items: Vec<String> = (20..60).map(|kind| format!("1M%1G+{kind}")).collect();
    let text = changes(Q35_2G, &format!("memmap=1M%1G+99,{}", items.join(",")));
    assert_eq!(user_map(&text)[4], "0000000040000000-0x00000000400fffff] type 99");
}

/// Only so many are kept apart, and of those none in vain.
#[test]
fn of_more_types_than_there_is_room_for_those_that_matter_stay() {
    let add = |kinds: &[u32]| kinds.iter().map(|kind| format!("+{kind}")).collect::<Vec<_>>();
    let remove = |kinds: &[u32]| kinds.iter().map(|kind| format!("-{kind}")).collect::<Vec<_>>();
    let ascending: Vec<u32> = (20..60).collect();
    let descending: Vec<u32> = ascending.iter().rev().copied().collect();
    for (items, left) in [
        (add(&ascending), 59),
        (add(&descending), 59),
        // The seventh is the least, one that is there already, or takes the place of a repetition.
        ([add(&[20, 21, 22, 23, 24, 25, 19]), remove(&[25])].concat(), 24),
        ([add(&[20, 21, 22, 23, 24, 25, 22]), remove(&[21, 22, 23, 24, 25])].concat(), 20),
        (add(&[21, 20, 20, 20, 20, 20, 19]), 21),
        ([add(&[20, 20, 20, 20, 20, 20, 19]), remove(&[20])].concat(), 19),
    ] {
        // Nothing is there before.
        let items: Vec<String> = items.iter().map(|item| format!("1M%3G{item}")).collect();
        let text = changes(Q35_2G, &format!("memmap={}", items.join(",")));
        let line =
            user_map(&text).into_iter().find_map(|line| line.strip_prefix("00000000c0000000-0x00000000c00fffff] "));
        assert_eq!(line, Some(&*format!("type {left}")), "{items:?}");
    }
}

#[test]
fn a_type_that_is_there_already_stays_whoever_made_it_first() {
    let plain = describe(Q35_2G, "");
    for items in ["memmap=1M@1G", "memmap=64K$0xb0000000 memmap=16M@0x7f000000"] {
        assert_eq!(describe(Q35_2G, items), plain, "{items}");
    }
}

/// Takes so many bytes.
struct Room(usize);

impl core::fmt::Write for Room {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0 = self.0.checked_sub(text.len()).ok_or(core::fmt::Error)?;
        Ok(())
    }
}

#[test]
fn whoever_cannot_take_every_line_is_told() {
    with_cmdline(Q35_2G, "mem=1G memmap=64K$1M", |map, image| {
        let mut print = |text: &mut dyn core::fmt::Write| {
            map.print(image, text)?;
            map.print_rules(image, text)
        };
        let mut whole = String::new();
        print(&mut whole).unwrap();
        for bytes in (0..whole.len()).step_by(if cfg!(miri) { 97 } else { 5 }) {
            assert!(print(&mut Room(bytes)).is_err(), "{bytes}");
        }
        assert!(print(&mut Room(whole.len())).is_ok());
    });
}

/// A table of entries, each changed on its own, as Linux keeps it.
struct Model(Vec<(u64, u64, u32)>);

impl Model {
    fn split(&mut self, start: u64, end: u64, kind: Option<u32>, change: impl Fn(u32) -> Option<u32>) {
        for (low, high, of) in std::mem::take(&mut self.0) {
            let (from, to) = (low.max(start), high.min(end));
            if kind.is_some_and(|kind| kind != of) || from >= to {
                self.0.push((low, high, of));
                continue;
            }
            let middle = change(of).map(|new| (from, to, new));
            let pieces = [Some((low, from, of)), middle, Some((to, high, of))];
            self.0.extend(pieces.into_iter().flatten().filter(|(low, high, _)| low < high));
        }
    }

    fn settle(&mut self) {
        let mut points: Vec<u64> = self.0.iter().flat_map(|&(start, end, _)| [start, end]).collect();
        points.sort_unstable();
        points.dedup();
        let mut settled: Vec<(u64, u64, u32)> = Vec::new();
        for ends in points.windows(2) {
            let covers = |entry: &&(u64, u64, u32)| entry.0 <= ends[0] && ends[1] <= entry.1;
            let Some(kind) = self.0.iter().filter(covers).map(|entry| entry.2).max() else { continue };
            match settled.last_mut() {
                Some(last) if last.1 == ends[0] && last.2 == kind && ![12, 0xefff_ffff].contains(&kind) => {
                    last.1 = ends[1];
                }
                _ => settled.push((ends[0], ends[1], kind)),
            }
        }
        self.0 = settled;
    }
}

#[test]
fn random_changes_agree_with_a_table_of_entries() {
    const BASE: u64 = 0x10_0000;
    let mut random = Random::new(12);
    for round in 0..if cfg!(miri) { 3 } else { 1500 } {
        let kinds = [1, 1, 2, 3, 4, 5, 7, 12, 12, 20, 0xefff_ffff];
        let any_kind = |random: &mut Random| kinds[random.below(kinds.len())];
        let most = if round % 20 == 0 { 100 } else { 8 };
        let entries: Vec<(u64, u64, u32)> = (0..random.below(most))
            .map(|_| (BASE + random.below(100) as u64, 1 + random.below(12) as u64, any_kind(&mut random)))
            .collect();
        let mut model = Model(entries.iter().map(|&(start, size, kind)| (start, start + size, kind)).collect());
        model.settle();
        let mut items = vec!["quiet".to_owned()];
        for _ in 0..random.below(6) {
            let (size, start) = (random.below(40) as u64, BASE + random.below(100) as u64);
            let end = start + size;
            let (from, to) = (any_kind(&mut random), any_kind(&mut random));
            items.push(match random.below(9) {
                0 => {
                    model.split(start, u64::MAX, Some(1), |_| None);
                    format!("mem={start}")
                }
                1 if random.below(4) == 0 => {
                    model.0.clear();
                    "memmap=exactmap".to_owned()
                }
                2 | 3 if from != to => {
                    model.split(start, end, Some(from), |_| Some(to));
                    format!("memmap={size:#x}%{start:#x}-{from}+{to:#x}")
                }
                4 => {
                    model.split(start, end, Some(from), |_| None);
                    format!("memmap={size}%{start}-{from}")
                }
                5 if random.below(4) == 0 => {
                    model.split(start, end, None, |_| None);
                    format!("memmap={size}%{start}")
                }
                kind => {
                    let (sign, kind) = [('@', 1), ('#', 3), ('$', 2), ('!', 12)][kind % 4];
                    model.0.extend((size > 0).then_some((start, end, kind)));
                    format!("memmap={size}{sign}{start}")
                }
            });
        }
        model.settle();
        let cmdline = items.join(" ");
        let printed = with_cmdline(&entries, &cmdline, |map, image| {
            let mut text = String::new();
            map.print_table(Stage::User, "user", image, &mut text).unwrap();
            // Facts say the same, whatever comes of neighbours.
            let recorder = Recorder::of(|sink| map.describe(image, sink));
            assert!(recorder.warnings.iter().all(|warning| warning.source.table == Table::E820));
            let ram: u64 = recorder.usable().iter().map(|&(start, end)| end - start).sum();
            let expected = model.0.iter().filter(|entry| entry.2 == 1).map(|entry| entry.1 - entry.0).sum::<u64>();
            assert_eq!(ram, expected, "{entries:x?} {cmdline}");
            text
        });
        let line = |&(start, end, kind): &(u64, u64, u32)| {
            format!("user: [mem {start:#018x}-{:#018x}] {}\n", end - 1, Kind::new(kind).unwrap())
        };
        assert_eq!(printed, model.0.iter().map(line).collect::<String>(), "{entries:x?} {cmdline}");
    }
}

#[test]
fn any_text_is_a_command_line() {
    let mut random = Random::new(5);
    let words =
        ["mem=", "memmap=", "1", "0x", "G", "K", "@", "#", "$", "!", "%", "-", "+", ",", " ", "exactmap", "9", "é"];
    for _ in 0..if cfg!(miri) { 5 } else { 2000 } {
        let text: String = (0..random.below(30)).map(|_| words[random.below(words.len())]).collect();
        let recorder = describe(PC_4G, &text);
        assert!(recorder.banks.is_sorted_by(|one, next| one.range.end() <= next.range.start()));
        let _ = changes(PC_4G, &text);
    }
}
