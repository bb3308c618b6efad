//! Listening to a sentinel: it says when it has replaced the master.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{PushInfo, PushKind, Value};
use stanchion::environment::Environment;
use stanchion::random::jittered;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::decision::Address;
use super::{Sentinels, reached};
use crate::connect::connection::{Connection, ConnectionEvents};
use crate::error::{self, Access};
use crate::reply;

const CHANNEL: &str = "+switch-master";
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Between two times that the sentinels are asked because one has said something.
const ASKED_EVERY: Duration = Duration::from_millis(200);

impl Sentinels {
    /// Listens to one of the sentinels, for as long as there are connections to the master; to another one when that is
    /// lost.
    pub(in crate::connect) fn keep_listening(self: &Arc<Self>) -> Result<()> {
        let environment = self.context.environment.clone();
        let closing = environment.tasks.closing();
        let (weak, mut watched) = (Arc::downgrade(self), self.master.subscribe());
        // This has to end with the connections, so that it must not keep alive what they hold.
        let left = async move { while watched.changed().await.is_ok() {} };
        let listening = async move {
            tokio::select! {
                () = closing => {}
                () = left => {}
                () = listen(weak, environment) => {}
            }
        };
        self.context.environment.tasks.spawn(listening).map(drop)
    }

    /// Asks for the master; if they can't say it, whoever connects asks again.
    async fn look_again(&self) {
        if let Err(error) = self.find().await {
            tracing::debug!(master = &*self.name, %error, "the sentinels do not name the master yet");
        }
    }

    /// A connection to this sentinel that hears when the master is replaced.
    async fn subscribed(&self, address: &Address) -> Result<(Connection, watch::Receiver<News>)> {
        let listener = Arc::new(Listener { name: Arc::clone(&self.name), news: watch::Sender::default() });
        let news = listener.news.subscribe();
        let at = reached(address.clone(), self.has_tls);
        let credentials = self.credentials.as_ref();
        let connection = Connection::open_sentinel(&at, credentials, Some(listener), &self.context).await?;
        let (deadline, channels) = (self.context.deadline, [CHANNEL.to_owned()]);
        let subscribed = tokio::time::timeout(deadline, connection.subscribe(&channels)).await;
        subscribed.unwrap_or_else(|_| Err(error::timed_out(deadline, Access::Read)))?;
        Ok((connection, news))
    }
}

async fn listen(sentinels: Weak<Sentinels>, environment: Environment) {
    let mut pause = FIRST_PAUSE;
    let mut random = [0];
    // The processes of a deployment don't all listen to one of them. Without random bytes they do.
    let _ = environment.random.fill(&mut random);
    let mut turn = usize::from(random[0]);
    loop {
        let since = environment.clock.now();
        let Some(address) = sentinels.upgrade().and_then(|living| {
            let mut addresses = living.addresses();
            let at = turn.checked_rem(addresses.len())?;
            Some(addresses.swap_remove(at))
        }) else {
            return;
        };
        let Err(error) = listen_to(&sentinels, &address, &environment).await else { return };
        let (host, port) = address;
        tracing::warn!(sentinel = %format_args!("{host}:{port}"), %error, "a sentinel can't be listened to; another one is tried");
        if environment.clock.now().saturating_since(since) > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        environment.sleep(jittered(&*environment.random, pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        turn = turn.wrapping_add(1);
    }
}

/// Until it is lost, which is the error, or there is nobody left to listen for.
async fn listen_to(sentinels: &Weak<Sentinels>, address: &Address, environment: &Environment) -> Result<()> {
    let (connection, mut news, ping_every) = {
        let Some(living) = sentinels.upgrade() else { return Ok(()) };
        let (connection, news) = living.subscribed(address).await?;
        // What was said before is not heard.
        living.look_again().await;
        (connection, news, living.context.ping_every)
    };
    loop {
        let heard = tokio::select! {
            changed = news.changed() => {
                if changed.is_err() || news.borrow().is_lost {
                    return Err(Error::new(ErrorKind::Unavailable, "the connection was lost"));
                }
                true
            }
            () = environment.sleep(ping_every) => false,
        };
        let Some(living) = sentinels.upgrade() else { return Ok(()) };
        if !heard {
            // The heartbeat. It also finds what was not heard.
            let named = living.master_by(&connection).await?;
            if named == living.current() {
                continue;
            }
            living.look_again().await;
            if named != living.current() {
                let why = "it names another master than the others: it may be cut off from them";
                return Err(Error::new(ErrorKind::Unavailable, why));
            }
            continue;
        }
        living.look_again().await;
        drop(living);
        environment.sleep(ASKED_EVERY).await;
    }
}

/// What came over the connection.
#[derive(Debug, Default)]
struct News {
    /// How often the master was replaced.
    switches: u64,
    is_lost: bool,
}

struct Listener {
    name: Arc<str>,
    news: watch::Sender<News>,
}

impl ConnectionEvents for Listener {
    fn pushed(&self, info: PushInfo) {
        if info.kind == PushKind::Message && is_switch(&info.data, &self.name) {
            self.news.send_modify(|news| news.switches += 1);
        }
    }

    fn broken(&self) {
        self.news.send_modify(|news| news.is_lost = true);
    }
}

/// `name old-host old-port new-host new-port`. Only that it was said is used: the sentinels are asked then.
fn is_switch(data: &[Value], name: &str) -> bool {
    let [channel, message] = data else { return false };
    let text = |value: &Value| reply::text(value.clone());
    text(channel).as_deref() == Some(CHANNEL)
        && text(message).is_some_and(|message| message.split(' ').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_of_another_master_is_none() {
        let said = |channel: &str, message: &str| {
            let data = [channel, message].map(|text| Value::BulkString(text.as_bytes().to_vec()));
            is_switch(&data, "main")
        };
        assert!(said("+switch-master", "main 10.0.0.1 6379 10.0.0.2 6379"));
        assert!(!said("+switch-master", "main2 10.0.0.1 6379 10.0.0.2 6379"));
        assert!(!said("+switch-master", "") && !said("+sdown", "main 10.0.0.1 6379"));
        assert!(!is_switch(&[], "main") && !is_switch(&[Value::Nil, Value::Nil], "main"));
    }
}
