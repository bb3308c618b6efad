//! What a comparison found, for people and for programs.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use crate::Failure;
use crate::machine;

/// One line of a comparison: ours against a peer.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured, and how many at once.
    pub(crate) case: String,
    /// Whom it was measured against.
    pub(crate) peer: &'static str,
    /// Our median.
    pub(crate) ours: f64,
    /// The peer's median.
    pub(crate) theirs: f64,
    /// The unit of both.
    pub(crate) unit: &'static str,
    /// The median of the ratios of the paired rounds; above 1 is better for us.
    pub(crate) ratio: f64,
    /// The least and the greatest of those ratios.
    pub(crate) spread: (f64, f64),
    /// The least ratio that passes, or `None` for a row that is shown and not judged.
    pub(crate) target: Option<f64>,
}

impl Row {
    fn met(&self) -> bool {
        self.target.is_none_or(|target| self.ratio >= target)
    }
}

/// A whole comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    name: &'static str,
    machine: String,
    versions: String,
    method: &'static str,
    rows: Vec<Row>,
    pass: bool,
}

impl Report {
    pub(crate) fn new(name: &'static str, versions: String, method: &'static str, rows: Vec<Row>) -> Self {
        let pass = rows.iter().all(Row::met);
        Self { name, machine: machine::describe(), versions, method, rows, pass }
    }

    /// Whether every target was met.
    pub(crate) fn pass(&self) -> bool {
        self.pass
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> Result<String, Failure> {
        Ok(serde_json::to_string(self)?)
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "# {}\n\n{}\n\nMachine: {}  \nVersions: {}\n\n",
            self.name, self.method, self.machine, self.versions
        );
        text.push_str("| case | peer | ours | peer's | unit | ratio (least to greatest) | target | met |\n|---|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let target = row.target.map_or("shown only".to_owned(), |target| format!("≥ {target:.2}"));
            let met = match row.target {
                None => "",
                Some(_) if row.met() => "yes",
                Some(_) => "**no**",
            };
            // Writing into a String can't fail.
            let _ = writeln!(
                text,
                "| {} | {} | {:.0} | {:.0} | {} | {:.2} ({:.2} to {:.2}) | {target} | {met} |",
                row.case, row.peer, row.ours, row.theirs, row.unit, row.ratio, row.spread.0, row.spread.1
            );
        }
        let _ =
            writeln!(text, "\n{}", if self.pass { "All targets met." } else { "**Not all targets met.**" });
        text
    }

    /// Writes `benchmarks/results/NAME.md`.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{}.md", self.name)), self.markdown())?;
        Ok(())
    }
}
