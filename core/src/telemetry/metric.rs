//! The description of a metric.

use crate::key::Name;

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Only grows.
    Counter,
    /// What there is now.
    Gauge,
    /// Measurements, by size.
    Histogram,
}

/// The unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// A number of things.
    Count,
    /// Seconds, with a fraction.
    Seconds,
    /// Bytes.
    Bytes,
}

/// A metric: its name and labels are interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name under which it is exported.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// What it measures, in one sentence.
    pub description: &'static str,
    /// The names of its labels, in the order in which a handle takes their values.
    pub labels: &'static [&'static str],
    /// A further label, which only what has failed carries.
    pub failure_label: Option<&'static str>,
}

impl Metric {
    /// A number that only grows.
    pub const fn counter(name: &'static str, description: &'static str) -> Self {
        Self::of(name, Kind::Counter, description)
    }

    /// A number of things that there are now.
    pub const fn gauge(name: &'static str, description: &'static str) -> Self {
        Self::of(name, Kind::Gauge, description)
    }

    /// Measurements of time, in seconds.
    pub const fn seconds(name: &'static str, description: &'static str) -> Self {
        Self::of(name, Kind::Histogram, description).unit(Unit::Seconds)
    }

    const fn of(name: &'static str, kind: Kind, description: &'static str) -> Self {
        Self { name, kind, unit: Unit::Count, description, labels: &[], failure_label: None }
    }

    /// In another unit.
    #[must_use]
    pub const fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// With these labels.
    #[must_use]
    pub const fn labels(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    /// With a further label, which only what has failed carries.
    #[must_use]
    pub const fn failure_label(mut self, label: &'static str) -> Self {
        self.failure_label = Some(label);
        self
    }
}

/// The metrics of an area: a constant for each, documented by its description, and the list of them.
macro_rules! catalogue {
    ($($name:ident = $kind:ident($metric:literal, $description:literal)$(.$with:ident($($value:tt)*))*;)*) => {
        $(
            #[doc = $description]
            pub const $name: Metric = Metric::$kind($metric, $description)$(.$with($($value)*))*;
        )*

        /// All of them.
        pub(super) const ALL: &[Metric] = &[$($name),*];
    };
}

pub(super) use catalogue;

/// The value of a label: a word that the library fixes, or a name that the program's code fixes. There is no other, so that
/// no id, key or address can become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelValue<'a> {
    /// A word of the library.
    Word(&'static str),
    /// A name of the program.
    Name(&'a Name),
}

impl From<&'static str> for LabelValue<'_> {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl<'a> From<&'a Name> for LabelValue<'a> {
    fn from(name: &'a Name) -> Self {
        Self::Name(name)
    }
}

#[cfg(feature = "metrics")]
impl Metric {
    /// The key under which a recorder knows this metric with these values of its labels.
    pub(super) fn key(&self, values: &[LabelValue<'_>]) -> metrics::Key {
        let labels = self.labels.iter().chain(&self.failure_label);
        debug_assert!(
            (self.labels.len()..=labels.clone().count()).contains(&values.len()),
            "each label of {} has a value",
            self.name
        );
        let labels = labels.zip(values).map(|(label, value)| match value {
            LabelValue::Word(word) => metrics::Label::from_static_parts(label, word),
            LabelValue::Name(name) => metrics::Label::new(*label, name.to_string()),
        });
        metrics::Key::from_parts(self.name, labels.collect::<Vec<_>>())
    }
}

#[cfg(feature = "metrics")]
pub(super) fn describe(metric: &Metric) {
    let unit = match metric.unit {
        Unit::Count => metrics::Unit::Count,
        Unit::Seconds => metrics::Unit::Seconds,
        Unit::Bytes => metrics::Unit::Bytes,
    };
    metrics::with_recorder(|recorder| {
        let (name, unit, description) = (metric.name.into(), Some(unit), metric.description.into());
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, unit, description),
            Kind::Gauge => recorder.describe_gauge(name, unit, description),
            Kind::Histogram => recorder.describe_histogram(name, unit, description),
        }
    });
}
