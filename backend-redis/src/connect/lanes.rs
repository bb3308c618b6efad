//! Further connections to the server of a node, beside that for commands.
//!
//! Replies come in the order of the requests on a connection, so that a small request waits for the large replies in front of it.
//! What is large has a connection of its own, and so has what must never wait.

use std::sync::{Arc, OnceLock};

use stanchion::Result;
use tokio::sync::watch;

use super::context::Context;
use super::purpose::Purpose;
use crate::command::Lane;

/// A way `N`, and whether there was an attempt to connect; that closes with its supervisor.
pub(super) type Opened<N> = (Arc<N>, watch::Receiver<bool>);

/// One for each purpose, opened when it is used first.
#[derive(Debug)]
pub(super) struct Lanes<N> {
    bulk: OnceLock<Option<Opened<N>>>,
    renewals: OnceLock<Option<Opened<N>>>,
}

impl<N> Default for Lanes<N> {
    fn default() -> Self {
        Self { bulk: OnceLock::new(), renewals: OnceLock::new() }
    }
}

impl<N> Lanes<N> {
    /// The way for such requests, opened if there is none; `None` for commands, and where it can't be opened. The first attempt to
    /// connect is waited for where a request must not be behind others, for half the time that a call has. A batch goes by the
    /// connection for commands until then: its deadline may be far shorter than that of a connection.
    pub(super) async fn get(
        &self,
        lane: Lane,
        context: &Arc<Context>,
        open: impl FnOnce(Purpose, &Arc<Context>) -> Result<Opened<N>>,
    ) -> Option<&Arc<N>> {
        let (place, purpose) = match lane {
            Lane::Commands => return None,
            Lane::Bulk => (&self.bulk, Purpose::Bulk),
            Lane::Renewals => (&self.renewals, Purpose::Renewals),
        };
        let opened = place.get_or_init(|| {
            let context = match purpose {
                Purpose::Renewals => context.renewals.context(|| context.on_this_runtime())?,
                _ => context,
            };
            open(purpose, context).ok()
        });
        let (node, tried) = opened.as_ref()?;
        if lane == Lane::Renewals && !*tried.borrow() {
            let mut tried = tried.clone();
            let bound = context.deadline / 2;
            let _ = tokio::time::timeout(bound, tried.wait_for(|tried| *tried)).await;
        }
        Some(node)
    }

    /// Those that were opened.
    pub(super) fn opened(&self) -> impl Iterator<Item = &Arc<N>> {
        let opened = [&self.bulk, &self.renewals].into_iter().filter_map(|place| place.get()?.as_ref());
        opened.map(|(node, _)| node)
    }

    /// Opens none from now on, and closes those that were opened.
    pub(super) fn close(&self, close: impl Fn(&N)) {
        for place in [&self.bulk, &self.renewals] {
            if let Some((node, _)) = place.get_or_init(|| None) {
                close(node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use stanchion::environment::Environment;

    use super::*;
    use crate::config::RedisConfig;

    #[tokio::test]
    async fn only_renewals_wait_for_the_first_attempt() {
        let config = RedisConfig::standalone("redis://localhost").unwrap().deadline(Duration::from_mins(1));
        let context = Context::new(&config, Environment::system());
        let (tried, receiver) = watch::channel(false);
        let open = |_, _: &_| Ok((Arc::new(()), receiver.clone()));
        let lanes = Lanes::default();
        assert!(lanes.get(Lane::Commands, &context, open).now_or_never().unwrap().is_none());
        assert!(lanes.get(Lane::Bulk, &context, open).now_or_never().unwrap().is_some());
        assert!(lanes.get(Lane::Renewals, &context, open).now_or_never().is_none());
        tried.send_replace(true);
        assert!(lanes.get(Lane::Renewals, &context, open).now_or_never().unwrap().is_some());
        context.renewals.end();
    }
}
