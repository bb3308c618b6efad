//! The contract of the telemetry, read from its page. Other packages' tests take this file by its path.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::observed::{Observed, Series, Traced};

/// A label, with the words that it takes. With none listed it takes others: a name of the program, or what the page says
/// in prose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelRow {
    pub(crate) name: String,
    pub(crate) words: BTreeSet<String>,
    pub(crate) is_name: bool,
    /// Only what has failed carries it.
    pub(crate) of_failures: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct MetricRow {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) unit: String,
    pub(crate) labels: Vec<LabelRow>,
    pub(crate) when: String,
    pub(crate) meaning: String,
}

#[derive(Debug, Clone)]
pub(crate) struct SpanRow {
    pub(crate) span: Traced,
    pub(crate) when: String,
}

#[derive(Debug, Clone)]
pub(crate) struct LogRow {
    pub(crate) package: String,
    pub(crate) log: Traced,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Contract {
    pub(crate) metrics: Vec<MetricRow>,
    pub(crate) spans: Vec<SpanRow>,
    pub(crate) logs: Vec<LogRow>,
}

fn bare(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

/// The words in backticks.
fn quoted(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// `` `a`, `b` (`x`, `y`), `c` (as it comes) ``
fn labels(cell: &str) -> Vec<LabelRow> {
    let mut labels = Vec::new();
    let mut rest = cell.trim_matches(['–', ' ']);
    while let Some(start) = rest.strip_prefix('`') {
        let (name, behind) = start.split_once('`').unwrap();
        let behind = behind.trim_start();
        let (words, behind) = match behind.strip_prefix('(') {
            Some(inside) => {
                let (inside, behind) = inside.split_once(')').unwrap();
                (Some(inside), behind)
            }
            None => (None, behind),
        };
        labels.push(LabelRow {
            name: name.to_owned(),
            words: words
                .filter(|words| words.starts_with('`'))
                .map(|words| quoted(words).collect())
                .unwrap_or_default(),
            is_name: words.is_none(),
            of_failures: words.is_some_and(|words| words.ends_with("if it failed")),
        });
        rest = behind.trim_start_matches(',').trim_start();
    }
    assert!(rest.is_empty(), "what is {rest:?} in {cell:?}?");
    labels
}

impl Contract {
    pub(crate) fn of(page: &str) -> Self {
        let mut contract = Self::default();
        let (mut section, mut header) = ("", Vec::new());
        for line in page.lines() {
            if let Some(title) = line.strip_prefix('#') {
                section = title.trim_start_matches('#').trim();
            }
            let Some(row) = line.strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
                header.clear();
                continue;
            };
            if row.starts_with("--") {
                continue;
            }
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            if header.is_empty() {
                header = cells;
            } else {
                contract.row(section, &header, &cells);
            }
        }
        contract
    }

    fn row(&mut self, section: &str, header: &[&str], cells: &[&str]) {
        match (header, cells) {
            (["metric", ..], [name, kind, unit, of, when, meaning]) => self.metrics.push(MetricRow {
                name: bare(name),
                kind: (*kind).to_owned(),
                unit: (*unit).to_owned(),
                labels: labels(of),
                when: (*when).to_owned(),
                meaning: (*meaning).to_owned(),
            }),
            (["span", ..], [name, level, fields, when, _]) => {
                let span =
                    Traced { level: (*level).to_owned(), text: bare(name), fields: quoted(fields).collect() };
                self.spans.push(SpanRow { span, when: (*when).to_owned() });
            }
            (["level", "message", ..], [level, message, fields, _]) => {
                let fields = quoted(fields).collect();
                let log = Traced { level: (*level).to_owned(), text: (*message).to_owned(), fields };
                self.logs.push(LogRow { package: section.to_owned(), log });
            }
            (["metric" | "span" | "level", ..], cells) => panic!("{section}: {cells:?} has other cells"),
            _ => {}
        }
    }

    /// What was emitted and is not in the contract in this form. `names` are those that the program has given.
    pub(crate) fn unknown(&self, observed: &Observed, names: &[&str]) -> Vec<String> {
        let fits = |series: &Series| {
            self.metrics.iter().any(|row| {
                let label = |(row, (label, value)): (&LabelRow, &(String, String))| {
                    row.name == *label
                        && match (row.is_name, row.words.is_empty()) {
                            (true, _) => names.contains(&value.as_str()),
                            (false, true) => is_plain(value),
                            (false, false) => row.words.contains(value),
                        }
                };
                (row.name.as_str(), row.kind.as_str()) == (series.name.as_str(), series.kind)
                    && (row.labels.len() == series.labels.len()
                        || row.labels.iter().filter(|label| !label.of_failures).count()
                            == series.labels.len())
                    && row.labels.iter().zip(&series.labels).all(label)
            })
        };
        let metrics = observed.metrics().into_iter().filter(|series| !fits(series));
        let spans =
            observed.spans().into_iter().filter(|span| !self.spans.iter().any(|row| is_of(row, span)));
        let logs = observed.logs().into_iter().filter(|log| !self.logs.iter().any(|row| row.log == *log));
        metrics
            .map(|series| format!("{series:?}"))
            .chain(spans.map(|span| format!("span {span:?}")))
            .chain(logs.map(|log| format!("log {log:?}")))
            .collect()
    }

    /// The names that are emitted in these cases, and were not; a word of a label too.
    pub(crate) fn missing(&self, observed: &Observed, when: &[&str]) -> Vec<String> {
        let (metrics, spans) = (observed.metrics(), observed.spans());
        let of = |name: &str| metrics.iter().filter(move |series| series.name == name).collect::<Vec<_>>();
        let mut missing = Vec::new();
        for row in self.metrics.iter().filter(|row| when.contains(&row.when.as_str())) {
            let emitted = of(&row.name);
            if emitted.is_empty() {
                missing.push(row.name.clone());
            }
            for (index, label) in row.labels.iter().enumerate() {
                let seen = |word: &String| emitted.iter().any(|series| series.labels[index].1 == *word);
                let absent = label.words.iter().filter(|word| !seen(word));
                missing.extend(absent.map(|word| format!("{}{{{}={word}}}", row.name, label.name)));
            }
        }
        let spans = self
            .spans
            .iter()
            .filter(|row| when.contains(&row.when.as_str()) && !spans.iter().any(|span| is_of(row, span)));
        missing.extend(spans.map(|row| format!("span {}", row.span.text)));
        missing
    }

    /// The names that may be emitted only in other cases than these, and were.
    pub(crate) fn untimely(&self, observed: &Observed, when: &[&str]) -> Vec<String> {
        let (metrics, spans) = (observed.metrics(), observed.spans());
        let off = |row: &str| !when.contains(&row);
        let off_metrics = self.metrics.iter().filter(|row| off(&row.when));
        let off_spans = self.spans.iter().filter(|row| off(&row.when));
        off_metrics
            .filter(|row| metrics.iter().any(|series| series.name == row.name))
            .map(|row| row.name.clone())
            .chain(
                off_spans
                    .filter(|row| spans.iter().any(|span| is_of(row, span)))
                    .map(|row| format!("span {}", row.span.text)),
            )
            .collect()
    }

    /// The log events of a package, as the page has them and as its source has them.
    pub(crate) fn logs_of(&self, package: &str, source: &Path) -> (BTreeSet<Traced>, BTreeSet<Traced>) {
        let rows = self.logs.iter().filter(|row| row.package == package).map(|row| row.log.clone()).collect();
        let mut found = BTreeSet::new();
        collect(source, &mut found);
        (rows, found)
    }
}

/// Demands that both are the same, and shows what only one has.
#[track_caller]
pub(crate) fn same<T: Ord + std::fmt::Debug>(page: &BTreeSet<T>, code: &BTreeSet<T>) {
    let (page_only, code_only): (Vec<_>, Vec<_>) =
        (page.difference(code).collect(), code.difference(page).collect());
    assert!(
        page_only.is_empty() && code_only.is_empty(),
        "on the page alone: {page_only:#?}\nin the code alone: {code_only:#?}"
    );
}

/// Letters only, as no id or address is for long.
fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '_' | ' ' | '.'))
}

/// `a.*` stands for every name that begins so.
fn is_of(row: &SpanRow, span: &Traced) -> bool {
    let named = match row.span.text.strip_suffix('*') {
        Some(beginning) => span.text.starts_with(beginning),
        None => span.text == row.span.text,
    };
    named && (&row.span.level, &row.span.fields) == (&span.level, &span.fields)
}

/// Every `tracing::debug!(…)` and its like in the files below a folder.
fn collect(folder: &Path, found: &mut BTreeSet<Traced>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            for level in ["error", "warn", "info", "debug", "trace"] {
                let call = format!("tracing::{level}!(");
                let calls = source.split(&call).skip(1);
                found.extend(calls.map(|call| log(level, call)));
            }
        }
    }
}

/// The call of a macro, from behind its parenthesis.
fn log(level: &str, call: &str) -> Traced {
    let (mut arguments, mut depth, mut quoted, mut current) = (Vec::new(), 0, false, String::new());
    let mut chars = call.chars();
    loop {
        let c = chars.next().expect("the call ends");
        match c {
            '\\' if quoted => {
                // A line that goes on, or a quote within the message.
                let rest = chars.as_str();
                if rest.starts_with('\n') {
                    chars = rest.trim_start().chars();
                } else {
                    current.push(chars.next().expect("the call ends"));
                }
                continue;
            }
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                arguments.push(std::mem::take(&mut current));
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    arguments.push(current);
    let mut arguments: Vec<_> =
        arguments.iter().map(|argument| argument.trim()).filter(|argument| !argument.is_empty()).collect();
    let message = arguments.pop().unwrap().trim_matches('"').to_owned();
    let name = |argument: &&str| {
        let name = argument.split_once(" = ").map_or(*argument, |(name, _)| name);
        name.trim_start_matches(['%', '?']).to_owned()
    };
    Traced { level: level.to_owned(), text: message, fields: arguments.iter().map(name).collect() }
}
