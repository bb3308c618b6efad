//! What was run on what, and what came of it: one small file per case and harness, merged into one report.
//!
//! Files are written where `STANCHION_REPORT_DIR` says, and nowhere without it. `STANCHION_REPORT_SUFFIX` is put behind the
//! name of the harness: the same harness on another version of its server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::{Rule, cases};

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The backend does what the rule asks.
    Passed,
    /// The backend does not offer the area, and says so.
    Refused,
    /// The case could not run, for this reason.
    Ignored(String),
    /// The rule came with a later version of the contract than the backend was written against; the case was not run.
    #[serde(rename = "not claimed")]
    NotClaimed,
    /// The backend does something else.
    Failed,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The case's id.
    pub case: String,
    /// The rule it shows, with its level.
    pub rule: String,
    /// What came of it, by harness.
    pub results: BTreeMap<String, Status>,
}

pub(crate) fn record(harness: &str, case: &str, rule: Option<&Rule>, status: &Status) {
    let Some(folder) = std::env::var_os("STANCHION_REPORT_DIR") else {
        return;
    };
    let harness = format!("{harness}{}", std::env::var("STANCHION_REPORT_SUFFIX").unwrap_or_default());
    let rule = rule.map(|rule| format!("{} {}", rule.id, rule.level)).unwrap_or_default();
    let entry =
        Entry { case: case.to_owned(), rule, results: BTreeMap::from([(harness.clone(), status.clone())]) };
    let folder = Path::new(&folder).join(&harness);
    let file = folder.join(format!("{}.json", case.replace("::", ".")));
    // A later run in which it could not run takes nothing back.
    if matches!(entry.results.get(&harness), Some(Status::Ignored(_))) && file.exists() {
        return;
    }
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(file, serde_json::to_vec(&entry)?));
    if let Err(error) = written {
        eprintln!("the report of {case} could not be written: {error}");
    }
}

/// Reads all that was recorded under a folder, sorted by case.
///
/// # Errors
/// If the folder can't be read, or a file in it is no record; the error names it.
pub fn collect(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for harness in fs::read_dir(folder).map_err(of(folder))? {
        let harness = harness?.path();
        for file in fs::read_dir(&harness).map_err(of(&harness))? {
            let file = file?.path();
            let read = fs::read(&file).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
            let entry: Entry = read.map_err(of(&file))?;
            match entries.get_mut(&entry.case) {
                Some(known) => known.results.extend(entry.results),
                None => {
                    entries.insert(entry.case.clone(), entry);
                }
            }
        }
    }
    Ok(entries.into_values().collect())
}

/// Writes the report for people and for programs: `report.md` and `report.json` of a folder that is there.
///
/// # Errors
/// If one can't be written; the error names it.
pub fn write(entries: &[Entry], folder: &Path) -> io::Result<()> {
    let written = |name: &str, text: String| {
        let file = folder.join(name);
        fs::write(&file, text).map_err(of(&file))
    };
    written("report.md", markdown(entries))?;
    written("report.json", serde_json::to_string_pretty(entries)? + "\n")
}

/// The error with the path that it is about.
fn of(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The report for people.
pub fn markdown(entries: &[Entry]) -> String {
    let harnesses: BTreeSet<&String> = entries.iter().flat_map(|entry| entry.results.keys()).collect();
    let mut text = String::from(
        "# Conformance report\n\nEvery case of the suite with its rule, on every backend and topology. ✓ passed, – refused as \
         not offered, ○ not claimed (of a later contract), · not run here, ✗ **failed**. The rules are in [RULES.md](RULES.md).\n\n",
    );
    // Writing into a String can't fail.
    let _ = write!(text, "| | |");
    for harness in &harnesses {
        let _ = write!(text, " {harness} |");
    }
    let _ = write!(text, "\n|---|---|{}\n", "---|".repeat(harnesses.len()));
    let _ = write!(text, "| **passed** | {} cases |", entries.len());
    for harness in &harnesses {
        let passed = entries.iter().filter(|e| e.results.get(*harness) == Some(&Status::Passed)).count();
        let _ = write!(text, " {passed} |");
    }
    text.push('\n');
    for entry in entries {
        let _ = write!(text, "| `{}` | {} |", entry.case, entry.rule);
        for harness in &harnesses {
            let mark = match entry.results.get(*harness) {
                Some(Status::Passed) => "✓",
                Some(Status::Refused) => "–",
                Some(Status::NotClaimed) => "○",
                Some(Status::Ignored(_)) | None => "·",
                Some(Status::Failed) => "✗",
            };
            let _ = write!(text, " {mark} |");
        }
        text.push('\n');
    }
    text
}

/// The table of rules, for `RULES.md`.
pub fn rules() -> String {
    let mut text = String::from(
        "# Rules\n\nWhat every backend must do, and the cases that show whether it does. Made from the suite itself: \
         `STANCHION_BLESS=1 cargo test -p stanchion-conformance` writes it anew.\n",
    );
    for (area, rules) in cases::ALL {
        let _ = write!(text, "\n## {}\n\n| rule | | | cases |\n|---|---|---|---|\n", area.name());
        for rule in *rules {
            let names: Vec<_> = rule.cases.iter().map(|case| format!("`{}`", case.name)).collect();
            let _ =
                writeln!(text, "| {} | {} | {} | {} |", rule.id, rule.level, rule.text, names.join("<br>"));
        }
    }
    text
}
