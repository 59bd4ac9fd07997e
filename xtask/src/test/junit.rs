//! The results as JUnit XML, the format that CI services read.

use std::fmt::Write as _;

use super::{Case, Outcome, Results};

/// The document: one `testsuite` per test program, the machines being one.
pub(super) fn xml(results: &Results) -> String {
    let mut suites: Vec<(&str, Vec<&Case>)> = Vec::new();
    for case in &results.cases {
        match suites.iter_mut().find(|(name, _)| *name == case.suite) {
            Some((_, cases)) => cases.push(case),
            None => suites.push((&case.suite, vec![case])),
        }
    }
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (name, cases) in suites {
        let count = |wanted: fn(&Outcome) -> bool| cases.iter().filter(|case| wanted(&case.outcome)).count();
        let failures = count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let skipped = count(|outcome| matches!(outcome, Outcome::Ignored | Outcome::Skipped(_)));
        // Writing to a String cannot fail.
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\">",
            escaped(name),
            cases.len()
        );
        for case in cases {
            xml += &element(case);
        }
        xml += "  </testsuite>\n";
    }
    xml + "</testsuites>\n"
}

fn element(case: &Case) -> String {
    let time = case.time.map(|time| format!(" time=\"{:.3}\"", time.as_secs_f64())).unwrap_or_default();
    let open = format!("    <testcase classname=\"{}\" name=\"{}\"{time}", escaped(&case.suite), escaped(&case.name));
    match &case.outcome {
        Outcome::Passed => format!("{open}/>\n"),
        Outcome::Ignored => format!("{open}><skipped/></testcase>\n"),
        Outcome::Skipped(reason) => format!("{open}><skipped message=\"{}\"/></testcase>\n", escaped(reason)),
        Outcome::Failed(reason) => with_reason(&open, "failure", reason),
        Outcome::Flaky(reason) => with_reason(&open, "flakyFailure", reason),
    }
}

fn with_reason(open: &str, element: &str, reason: &str) -> String {
    let first = escaped(reason.lines().next().unwrap_or_default());
    format!("{open}><{element} message=\"{first}\">{}</{element}></testcase>\n", escaped(reason))
}

/// XML has no way to write most control characters, so they are replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn suites_counts_and_reasons() {
        let case = |suite: &str, name: &str, outcome| Case {
            suite: suite.into(),
            name: name.into(),
            time: Some(Duration::from_millis(1500)),
            outcome,
        };
        let mut results = Results::default();
        results.push(case("mm", "a<b>", Outcome::Passed));
        results.push(case("machines", "pc-1g", Outcome::Failed("no \"line\" & more\nlast\u{1b}[0m".into())));
        results.push(case("mm", "c", Outcome::Ignored));
        results.push(case("machines", "q35-1g", Outcome::Flaky("late".into())));
        results.push(Case { time: None, ..case("machines", "virt-limine", Outcome::Skipped("no Limine".into())) });
        assert_eq!((results.passed, results.failed, results.skipped), (2, 1, 1));
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="mm" tests="2" failures="0" skipped="1">
    <testcase classname="mm" name="a&lt;b&gt;" time="1.500"/>
    <testcase classname="mm" name="c" time="1.500"><skipped/></testcase>
  </testsuite>
  <testsuite name="machines" tests="3" failures="1" skipped="1">
    <testcase classname="machines" name="pc-1g" time="1.500"><failure message="no &quot;line&quot; &amp; more">no &quot;line&quot; &amp; more
last�[0m</failure></testcase>
    <testcase classname="machines" name="q35-1g" time="1.500"><flakyFailure message="late">late</flakyFailure></testcase>
    <testcase classname="machines" name="virt-limine"><skipped message="no Limine"/></testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(xml(&results), expected);
    }
}
