//! Renews credentials before they end.

use std::future::pending;
use std::sync::{Arc, Weak};
use std::time::Duration;

use stanchion::Result;
use stanchion::random::jittered;
use stanchion::time::Monotonic;
use tokio::sync::watch;

use crate::connect::context::Context;

/// Between two renewals; it grows while they fail.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Renews the credentials of all connections of this backend, for as long as it is there.
pub(crate) fn keep_renewed(context: &Arc<Context>) -> Result<()> {
    let (weak, earlier) = (Arc::downgrade(context), context.authentication.watch());
    let closing = context.environment.tasks.closing();
    let renewing = async move {
        tokio::select! {
            () = closing => {}
            () = renew_in_time(weak, earlier) => {}
        }
    };
    context.environment.tasks.spawn(renewing).map(drop)
}

async fn renew_in_time(context: Weak<Context>, mut earlier: watch::Receiver<u64>) {
    let mut pause = FIRST_PAUSE;
    loop {
        // It must not keep the backend alive while it waits.
        let Some((environment, due)) =
            context.upgrade().map(|context| (context.environment.clone(), context.authentication.due()))
        else {
            return;
        };
        let waiting = async |until: Option<Monotonic>| match until {
            Some(until) => environment.clock.sleep_until(until).await,
            None => pending().await,
        };
        tokio::select! {
            changed = earlier.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = waiting(due) => {}
        }
        let Some(living) = context.upgrade() else { return };
        let renewed = living.authentication.renew().await;
        drop(living);
        match renewed {
            Ok(()) => pause = FIRST_PAUSE,
            Err(error) => {
                tracing::warn!(%error, "the credentials can't be renewed yet");
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        environment.sleep(jittered(&*environment.random, pause)).await;
    }
}
