//! The records: one JSON file for each machine under `ci/linux/`.

use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Facts;
use crate::image;
use crate::workspace;

/// The version of the files' format.
pub(super) const SCHEMA: u32 = 1;

/// A line of a file is not longer, where it holds more than one value.
const WIDTH: usize = 120;

/// What Linux said on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) schema: u32,
    pub(super) machine: String,
    /// Linux's version.
    pub(super) kernel: String,
    /// QEMU's command line, without what depends on the host's folders.
    pub(super) qemu: String,
    /// The fingerprint of the UEFI firmware, where there is one: another keeps other memory for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) firmware: Option<String>,
    pub(super) facts: Facts,
}

fn path(machine: &str) -> PathBuf {
    workspace::root().join("ci/linux").join(format!("{machine}.json"))
}

/// The record of a machine, if there is one.
///
/// # Errors
/// When it cannot be read or is not of this format.
pub(super) fn read(machine: &str) -> Result<Option<Record>> {
    let path = path(machine);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| path.display().to_string())?,
    };
    let record: Record = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    if record.schema != SCHEMA {
        bail!("{}: schema {}, not {SCHEMA}", path.display(), record.schema);
    }
    Ok(Some(record))
}

/// Keeps the record in place of the one before it.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write(record: &Record) -> Result<()> {
    let path = path(&record.machine);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut text = String::new();
    layout(&serde_json::to_value(record)?, 0, &mut text);
    text.push('\n');
    image::write_whole(&path, text.as_bytes())
}

/// JSON in which what fits into a line stays on one, so that a change of one fact is a change of one line.
fn layout(value: &Value, indent: usize, out: &mut String) {
    let flat = value.to_string();
    let (open, close, items) = match value {
        _ if indent > 0 && indent + flat.len() <= WIDTH => return out.push_str(&flat),
        Value::Array(list) => ('[', ']', list.iter().map(|item| (None, item)).collect::<Vec<_>>()),
        Value::Object(map) => ('{', '}', map.iter().map(|(name, item)| (Some(name), item)).collect()),
        _ => return out.push_str(&flat),
    };
    out.push(open);
    let count = items.len();
    for (index, (name, item)) in items.into_iter().enumerate() {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent + 1));
        if let Some(name) = name {
            out.push_str(&format!("{}: ", Value::from(name.as_str())));
        }
        layout(item, indent + 1, out);
        if index + 1 < count {
            out.push(',');
        }
    }
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_into_a_line_stays_on_one() {
        let short = serde_json::json!({"a": [1, 2], "b": {"c": "d\"e"}, "f": []});
        let mut text = String::new();
        layout(&short, 0, &mut text);
        assert_eq!(text, "{\n \"a\": [1,2],\n \"b\": {\"c\":\"d\\\"e\"},\n \"f\": []\n}");
        let long = serde_json::json!({"list": vec!["twenty letters or so"; 8]});
        let mut text = String::new();
        layout(&long, 0, &mut text);
        assert_eq!(text.lines().count(), 12);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), long);
    }

    #[test]
    fn a_machine_that_was_never_asked_has_no_record() {
        assert!(read("no-such-machine").unwrap().is_none());
    }
}
