//! What a server calls the connections of a backend, in `CLIENT LIST`.

use stanchion::key::Name;

use super::purpose::Purpose;

/// A name for each purpose: `stanchion:commands`, or `stanchion:orders:commands` for a service that gave its own.
#[derive(Debug)]
pub(super) struct ConnectionNames {
    commands: String,
    bulk: String,
    renewals: String,
    subscriptions: String,
    invalidations: String,
    sentinels: String,
}

impl ConnectionNames {
    pub(super) fn new(client: Option<&Name>) -> Self {
        let of = |purpose: Purpose| match client {
            Some(client) => format!("stanchion:{client}:{}", purpose.name()),
            None => format!("stanchion:{}", purpose.name()),
        };
        Self {
            commands: of(Purpose::Commands),
            bulk: of(Purpose::Bulk),
            renewals: of(Purpose::Renewals),
            subscriptions: of(Purpose::Subscriptions),
            invalidations: of(Purpose::Invalidations),
            sentinels: of(Purpose::Sentinels),
        }
    }

    pub(super) fn of(&self, purpose: Purpose) -> &str {
        match purpose {
            Purpose::Commands => &self.commands,
            Purpose::Bulk => &self.bulk,
            Purpose::Renewals => &self.renewals,
            Purpose::Subscriptions => &self.subscriptions,
            Purpose::Invalidations => &self.invalidations,
            Purpose::Sentinels => &self.sentinels,
        }
    }
}
