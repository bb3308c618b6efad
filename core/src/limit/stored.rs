//! What is used, as it is stored.

use super::gcra::Gcra;
use super::quota::Quota;
use super::usage::{Extra, Usage};
use super::{Calendar, Tier};
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// The field of added permits.
const EXTRA: &str = "+";

impl Usage {
    /// The stored form: names and texts.
    ///
    /// | name | text |
    /// |---|---|
    /// | [`Tier::id`] | of a rate, the theoretical arrival time `{micros}:{rest}` |
    /// | [`Calendar::id`] | the first microsecond of the window and the permits taken in it: `{start}:{used}` |
    /// | `+` | added permits and the microsecond at which they end: `{permits}:{until}` |
    pub fn fields(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let rates = self.rates.iter().map(|(tier, gcra)| {
            let (micros, rest) = gcra.parts();
            (tier.id(), format!("{micros}:{rest}"))
        });
        let quotas = self
            .quotas
            .iter()
            .map(|(calendar, quota)| (calendar.id(), format!("{}:{}", quota.start.as_micros(), quota.used)));
        let extra = (self.extra.permits > 0)
            .then(|| (EXTRA.to_owned(), format!("{}:{}", self.extra.permits, self.extra.until.as_micros())));
        rates.chain(quotas).chain(extra)
    }

    /// What was stored as its [`fields`](Self::fields), in any order. Names that are none of a tier's are skipped.
    ///
    /// # Errors
    /// [`Codec`](ErrorKind::Codec) for a text that can't have been stored.
    pub fn from_fields(fields: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut usage = Self::default();
        for (name, text) in fields {
            let bad = || Error::new(ErrorKind::Codec, "what is stored is no state of a rate limit");
            let number = |text: &str| text.parse::<u64>().map_err(|_| bad());
            let pair = || -> Result<(u64, u64)> {
                let (first, second) = text.split_once(':').ok_or_else(bad)?;
                Ok((number(first)?, number(second)?))
            };
            let count = |number: u64| {
                u32::try_from(number).ok().filter(|count| *count <= Tier::MAX_COUNT).ok_or_else(bad)
            };
            if name == EXTRA {
                let (permits, until) = pair()?;
                usage.extra = Extra { permits: count(permits)?, until: Timestamp::from_micros(until) };
            } else if let Some(calendar) = Calendar::from_id(&name) {
                let (start, used) = pair()?;
                let quota = Quota { start: Timestamp::from_micros(start), used: count(used)? };
                usage.quotas.push((calendar, quota));
            } else if let Some(tier) = Tier::rate_from_id(&name) {
                let (micros, rest) = pair()?;
                usage.rates.push((tier, Gcra::from_parts(micros, rest)?));
            }
        }
        Ok(usage)
    }
}
