//! What a comparison found, for people and for programs.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use crate::Failure;
use crate::machine;
use crate::rounds::Pairs;

/// One line of a comparison: ours against a peer, or ours against a bound.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured, and how many at once.
    case: String,
    /// Whom it was measured against, if anybody.
    peer: Option<&'static str>,
    /// Our median.
    ours: f64,
    /// The peer's median.
    theirs: Option<f64>,
    /// The unit of both.
    unit: &'static str,
    /// What is judged: the median of the ratios of the paired rounds, ours by the peer's; of a count, which nothing
    /// is divided by, the count itself.
    ratio: f64,
    /// The least and the greatest of those ratios.
    spread: (f64, f64),
    /// The bound of the ratio, or `None` for a row that is shown and not judged.
    target: Option<f64>,
    /// On which side of the target the ratio has to be.
    rule: Rule,
    met: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Rule {
    Shown,
    AtLeast,
    AtMost,
}

impl Row {
    /// A ratio of paired rounds; shown only, unless a target is set.
    pub(crate) fn pairs(
        case: impl Into<String>,
        peer: &'static str,
        unit: &'static str,
        pairs: &Pairs,
    ) -> Self {
        let (ours, theirs, ratio) = (pairs.ours(), Some(pairs.theirs()), pairs.ratio());
        Self { theirs, peer: Some(peer), spread: pairs.spread(), ..Self::new(case, unit, ours, ratio) }
    }

    /// Something that is counted, or measured once; shown only, unless a target is set.
    pub(crate) fn count(case: impl Into<String>, unit: &'static str, ours: f64) -> Self {
        Self::new(case, unit, ours, ours)
    }

    fn new(case: impl Into<String>, unit: &'static str, ours: f64, ratio: f64) -> Self {
        Self {
            case: case.into(),
            peer: None,
            ours,
            theirs: None,
            unit,
            ratio,
            spread: (ratio, ratio),
            target: None,
            rule: Rule::Shown,
            met: true,
        }
    }

    /// What a peer counts in the same run.
    pub(crate) fn beside(self, peer: &'static str, theirs: f64) -> Self {
        Self { peer: Some(peer), theirs: Some(theirs), ..self }
    }

    /// Passes if the ratio is this or more: more is better.
    pub(crate) fn at_least(self, target: f64) -> Self {
        Self { met: self.ratio >= target, target: Some(target), rule: Rule::AtLeast, ..self }
    }

    /// Passes if the ratio is this or less: less is better.
    pub(crate) fn at_most(self, target: f64) -> Self {
        Self { met: self.ratio <= target, target: Some(target), rule: Rule::AtMost, ..self }
    }

    fn markdown(&self) -> String {
        let theirs = self.theirs.map(number).unwrap_or_default();
        let ratio = match self.spread {
            (least, greatest) if self.theirs.is_some() && least < greatest => {
                format!("{} ({least:.2} to {greatest:.2})", number(self.ratio))
            }
            _ => number(self.ratio),
        };
        let target = match (self.rule, self.target) {
            (Rule::AtLeast, Some(target)) => format!("≥ {}", number(target)),
            (Rule::AtMost, Some(target)) => format!("≤ {}", number(target)),
            _ => "shown only".to_owned(),
        };
        let met = match (self.rule, self.met) {
            (Rule::Shown, _) => "",
            (_, true) => "yes",
            (_, false) => "**no**",
        };
        format!(
            "| {} | {} | {} | {theirs} | {} | {ratio} | {target} | {met} |",
            self.case,
            self.peer.unwrap_or_default(),
            number(self.ours),
            self.unit
        )
    }
}

/// Whole numbers as they are, others with as many digits as say something.
fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1_000.0 {
        format!("{value:.0}")
    } else if value.abs() >= 100.0 {
        format!("{value:.1}")
    } else if value.abs() < 0.1 {
        format!("{value:.4}")
    } else {
        format!("{value:.2}")
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
        let pass = rows.iter().all(|row| row.met);
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
        text.push_str("| case | peer | ours | peer's | unit | ratio (least to greatest) | target | met |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            // Writing into a String can't fail.
            let _ = writeln!(text, "{}", row.markdown());
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

/// One line of JSON for a comparison that broke: it has not passed.
pub(crate) fn broken(name: &str, error: &dyn std::error::Error) -> String {
    serde_json::json!({ "name": name, "pass": false, "error": error.to_string() }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_breaks_has_not_passed_and_says_why() {
        let line = broken("redis-get", &std::io::Error::other("no \"server\""));
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["pass"], &read["error"]), (&false.into(), &"no \"server\"".into()));
        assert!(!line.contains('\n'));
    }
}
