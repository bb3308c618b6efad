//! The program that merges records says which of its two folders is at fault.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use stanchion_conformance::Place;

/// A folder that nobody has been to, gone in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("stanchion-report-{}", Place::fresh().prefix()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn merge(records: &Path, folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conformance-report")).args([records, folder]).output().unwrap()
}

#[test]
fn a_missing_folder_is_named() {
    let here = Folder::new();
    let (records, missing) = (here.0.join("records"), here.0.join("missing"));
    fs::create_dir_all(records.join("mine")).unwrap();
    let said = |output: Output| {
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said_of_output = said(merge(&records, &missing));
    assert!(said_of_output.contains("missing/report.md"), "{said_of_output}");
    assert!(!said_of_output.contains("records"), "{said_of_output}");
    let said_of_records = said(merge(&missing, &here.0));
    assert!(said_of_records.starts_with(&*missing.to_string_lossy()), "{said_of_records}");
    fs::write(records.join("mine").join("no.json"), "{").unwrap();
    let said_of_record = said(merge(&records, &here.0));
    assert!(said_of_record.contains("no.json"), "{said_of_record}");
}

#[test]
fn records_are_merged() {
    let here = Folder::new();
    let records = here.0.join("records");
    for (harness, result) in [("mine", "\"passed\""), ("other", "\"not claimed\"")] {
        let folder = records.join(harness);
        fs::create_dir_all(&folder).unwrap();
        let record =
            format!(r#"{{"case": "lock::a", "rule": "LOCK-99 MUST", "results": {{"{harness}": {result}}}}}"#);
        fs::write(folder.join("lock.a.json"), record).unwrap();
    }
    let merged = merge(&records, &here.0);
    assert!(merged.status.success(), "{}", String::from_utf8_lossy(&merged.stderr));
    let text = fs::read_to_string(here.0.join("report.md")).unwrap();
    assert!(text.contains("| `lock::a` | LOCK-99 MUST | ✓ | ○ |"), "{text}");
    assert!(fs::read_to_string(here.0.join("report.json")).unwrap().contains("\"not claimed\""));
}
