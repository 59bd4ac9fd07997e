//! The outcome of a comparison: a table of marks, and below it every difference with both sides.

use serde_json::{Value, json};

use super::Facts;
use super::facts::ASPECTS;

/// What a machine's row says of one aspect.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    /// Both say the same.
    Equal,
    /// Neither says anything.
    Nothing,
    Differs(Difference),
}

/// The lines that one side has and the other has not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Difference {
    linux: Vec<String>,
    ours: Vec<String>,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) machine: String,
    /// A mark for each aspect, or why there are none.
    marks: Result<Vec<Mark>, String>,
}

impl Row {
    /// What two kernels say of the machine.
    pub(super) fn new(machine: &str, linux: &Facts, ours: &Facts) -> Self {
        let marks = ASPECTS.iter().map(|aspect| mark((aspect.lines)(linux), (aspect.lines)(ours)));
        Self { machine: machine.to_owned(), marks: Ok(marks.collect()) }
    }

    /// A machine that could not be compared.
    pub(super) fn failed(machine: &str, reason: String) -> Self {
        Self { machine: machine.to_owned(), marks: Err(reason) }
    }

    /// Whether nothing differs.
    pub(super) fn is_equal(&self) -> bool {
        self.marks.as_ref().is_ok_and(|marks| !marks.iter().any(|mark| matches!(mark, Mark::Differs(_))))
    }
}

fn mark(linux: Vec<String>, ours: Vec<String>) -> Mark {
    if linux == ours {
        return if linux.is_empty() { Mark::Nothing } else { Mark::Equal };
    }
    let difference = Difference { linux: without(&linux, &ours), ours: without(&ours, &linux) };
    match difference.linux.is_empty() && difference.ours.is_empty() {
        // The same lines in another order.
        true => Mark::Differs(Difference { linux, ours }),
        false => Mark::Differs(difference),
    }
}

/// The lines of `all` that are left when each of `others` has taken its like away.
fn without(all: &[String], others: &[String]) -> Vec<String> {
    let mut others: Vec<&String> = others.iter().collect();
    let mut left = Vec::new();
    for line in all {
        match others.iter().position(|other| *other == line) {
            Some(at) => drop(others.remove(at)),
            None => left.push(line.clone()),
        }
    }
    left
}

/// The table, and the differences below it.
pub(super) fn text(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.machine.len()).max().unwrap_or(0).max("machine".len());
    let mut out = format!("{:width$}", "machine");
    for aspect in &ASPECTS {
        out += &format!("  {}", aspect.name);
    }
    out.push('\n');
    for row in rows {
        out += &format!("{:width$}", row.machine);
        for (index, aspect) in ASPECTS.iter().enumerate() {
            let mark = match row.marks.as_ref().map(|marks| marks.get(index)) {
                Ok(Some(Mark::Equal)) => "=",
                Ok(Some(Mark::Differs(_))) => "DIFF",
                Ok(Some(Mark::Nothing)) => ".",
                Ok(None) | Err(_) => "?",
            };
            out += &format!("  {mark:<length$}", length = aspect.name.len());
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out += "\n= same   . nothing said   ? not compared\n\n";
    for row in rows {
        match &row.marks {
            Err(reason) => out += &format!("{}: {reason}\n\n", row.machine),
            Ok(marks) => {
                for (aspect, mark) in ASPECTS.iter().zip(marks) {
                    let Mark::Differs(difference) = mark else { continue };
                    out += &format!("{}: {}\n{}\n", row.machine, aspect.name, side_by_side(difference));
                }
            }
        }
    }
    out
}

fn side_by_side(difference: &Difference) -> String {
    let Difference { linux, ours } = difference;
    let width = linux.iter().map(String::len).max().unwrap_or(0).max("Linux".len());
    let mut out = format!("    {:width$} | ours\n", "Linux");
    let empty = String::new();
    for index in 0..linux.len().max(ours.len()) {
        let [left, right] = [linux, ours].map(|side| side.get(index).unwrap_or(&empty));
        let line = format!("    {left:width$} | {right}");
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// The same as JSON.
pub(super) fn json(rows: &[Row], passed: usize, failed: usize) -> Value {
    let machines = rows.iter().map(|row| match &row.marks {
        Err(reason) => json!({"name": row.machine, "equal": false, "error": reason}),
        Ok(marks) => {
            let aspects = ASPECTS.iter().zip(marks).map(|(aspect, mark)| {
                let value = match mark {
                    Mark::Equal => json!("equal"),
                    Mark::Nothing => json!("nothing"),
                    Mark::Differs(difference) => json!({"linux": difference.linux, "ours": difference.ours}),
                };
                (aspect.name.to_owned(), value)
            });
            let aspects: serde_json::Map<String, Value> = aspects.collect();
            json!({"name": row.machine, "equal": row.is_equal(), "aspects": aspects})
        }
    });
    let machines: Vec<Value> = machines.collect();
    json!({"schema": super::store::SCHEMA, "machines": machines, "passed": passed, "failed": failed})
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn facts(fallback: &[(u32, &[u32])]) -> Facts {
        let fallback = fallback.iter().map(|(node, order)| (*node, order.to_vec())).collect::<BTreeMap<_, _>>();
        Facts { fallback, ..Facts::default() }
    }

    #[test]
    fn only_what_differs_is_shown_with_both_sides() {
        let linux = facts(&[(0, &[0, 1]), (1, &[1, 0])]);
        let ours = facts(&[(0, &[0, 1]), (1, &[1]), (2, &[2])]);
        let rows = [
            Row::new("same", &linux, &linux),
            Row::new("other", &linux, &ours),
            Row::failed("broken", "no record".to_owned()),
        ];
        assert_eq!(rows.each_ref().map(Row::is_equal), [true, false, false]);
        let text = text(&rows);
        let lines: Vec<&str> = text.lines().collect();
        let header: Vec<&str> = lines[0].split_whitespace().collect();
        let column = header.iter().position(|word| *word == "fallback").unwrap();
        let mark = |line: usize| lines[line].split_whitespace().nth(column).unwrap();
        assert_eq!([mark(1), mark(2), mark(3)], ["=", "DIFF", "?"]);
        assert!(
            text.contains(
                "other: fallback\n    Linux       | ours\n    node 1: 1 0 | node 1: 1\n                | node 2: 2\n"
            ),
            "{text}"
        );
        assert!(text.contains("broken: no record\n") && !text.contains("node 0"), "{text}");
    }

    #[test]
    fn another_order_of_the_same_lines_is_a_difference() {
        let lines = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        assert_eq!(mark(lines("abca"), lines("abca")), Mark::Equal);
        let expected = Difference { linux: lines("ab"), ours: lines("ba") };
        assert_eq!(mark(lines("ab"), lines("ba")), Mark::Differs(expected));
        let expected = Difference { linux: lines("a"), ours: lines("d") };
        assert_eq!(mark(lines("aba"), lines("dba")), Mark::Differs(expected));
    }

    #[test]
    fn json_has_every_aspect() {
        let rows = [Row::new("a", &facts(&[]), &facts(&[(0, &[0])])), Row::failed("b", "why".to_owned())];
        let json = json(&rows, 0, 2);
        assert_eq!((&json["schema"], &json["failed"]), (&json!(1), &json!(2)));
        assert_eq!(json["machines"][0]["aspects"]["fallback"], json!({"linux": [], "ours": ["node 0: 0"]}));
        assert_eq!(json["machines"][0]["aspects"]["movable"], json!("nothing"));
        assert_eq!(json["machines"][1]["error"], json!("why"));
    }
}
