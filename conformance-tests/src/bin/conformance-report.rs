//! Merges what the runs recorded under `STANCHION_REPORT_DIR` into `report.md` and `report.json` of a folder.
//!
//! `conformance-report RECORDS FOLDER`

use std::path::Path;
use std::process::ExitCode;

use stanchion_conformance::report;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [records, folder] = arguments.as_slice() else {
        eprintln!("usage: conformance-report RECORDS FOLDER");
        return ExitCode::from(2);
    };
    let merged = report::collect(Path::new(records)).and_then(|entries| {
        let folder = Path::new(folder);
        std::fs::write(folder.join("report.md"), report::markdown(&entries))?;
        std::fs::write(folder.join("report.json"), serde_json::to_string_pretty(&entries)? + "\n")?;
        Ok(entries.len())
    });
    match merged {
        Ok(cases) => {
            println!("{cases} cases");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{records}: {error}");
            ExitCode::FAILURE
        }
    }
}
