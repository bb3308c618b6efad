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
        report::write(&entries, Path::new(folder))?;
        Ok(entries.len())
    });
    match merged {
        Ok(cases) => {
            println!("{cases} cases");
            ExitCode::SUCCESS
        }
        Err(error) => {
            // It names the file or folder.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
