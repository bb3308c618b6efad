//! Who has subscribed to which channels.

use std::collections::{HashMap, HashSet};

use stanchion::Error;
use stanchion::event::{FeedSender, Received};

/// The subscribers of this process, and what the server has confirmed to the connection in use.
#[derive(Default)]
pub(super) struct Registry {
    subscribers: HashMap<u64, Subscriber>,
    by_channel: HashMap<String, Vec<u64>>,
    confirmed: HashSet<String>,
    next: u64,
    // How many there have been, the one in use among them.
    connections: u64,
    closed: bool,
}

struct Subscriber {
    channels: Vec<String>,
    feed: FeedSender,
    // The connection on which it began; on a later one it has missed something.
    since: u64,
}

impl Registry {
    pub(super) fn len(&self) -> usize {
        self.subscribers.len()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The number of the next subscriber; none once closed.
    pub(super) fn number(&mut self) -> Option<u64> {
        self.next += 1;
        (!self.closed).then_some(self.next)
    }

    /// A subscriber, which has not [begun](Self::begin) on any connection: it can miss nothing before that.
    pub(super) fn add(&mut self, number: u64, channels: Vec<String>, feed: FeedSender) {
        for channel in &channels {
            self.by_channel.entry(channel.clone()).or_default().push(number);
        }
        self.subscribers.insert(number, Subscriber { channels, feed, since: u64::MAX });
    }

    /// The server has confirmed these channels, and so all of the subscriber's, on the connection in use. Answers whether the
    /// subscriber is still there: it may have been [ended](Self::deny) before, and what was confirmed may be of an earlier
    /// connection then.
    pub(super) fn begin(&mut self, number: u64, confirmed: Vec<String>) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(&number) else { return false };
        subscriber.since = self.connections;
        self.confirmed.extend(confirmed);
        true
    }

    /// Ends a subscriber; answers the channels that have no other.
    pub(super) fn remove(&mut self, number: u64) -> Vec<String> {
        self.take(number).map(|(_, unused)| unused).unwrap_or_default()
    }

    fn take(&mut self, number: u64) -> Option<(Subscriber, Vec<String>)> {
        let ended = self.subscribers.remove(&number)?;
        let mut unused = Vec::new();
        for channel in &ended.channels {
            if let Some(numbers) = self.by_channel.get_mut(channel) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    self.by_channel.remove(channel);
                    unused.push(channel.clone());
                }
            }
        }
        Some((ended, unused))
    }

    /// The server does not let anybody subscribe to this channel: ends its subscribers, with the reason, and hands them back to
    /// be dropped without the lock; and answers the other channels that now have none.
    pub(super) fn deny(&mut self, channel: &str, why: &Error) -> (impl Sized + use<>, Vec<String>) {
        let numbers = self.by_channel.get(channel).cloned().unwrap_or_default();
        let (mut ended, mut unused) = (Vec::new(), Vec::new());
        for (subscriber, channels) in numbers.into_iter().filter_map(|number| self.take(number)) {
            subscriber.feed.send(Received::Ended(why.clone()));
            ended.push(subscriber);
            unused.extend(channels.into_iter().filter(|other| other != channel));
        }
        (ended, unused)
    }

    /// Whether the channel has a subscriber.
    pub(super) fn is_wanted(&self, channel: &str) -> bool {
        self.by_channel.contains_key(channel)
    }

    /// Those of the channels that the server has not confirmed.
    pub(super) fn unconfirmed(&self, channels: &[String]) -> Vec<String> {
        channels.iter().filter(|channel| !self.confirmed.contains(*channel)).cloned().collect()
    }

    /// Those of the channels that still have no subscriber; they are not confirmed from now on.
    pub(super) fn take_unused(&mut self, channels: Vec<String>) -> Vec<String> {
        let unused: Vec<_> =
            channels.into_iter().filter(|channel| !self.by_channel.contains_key(channel)).collect();
        for channel in &unused {
            self.confirmed.remove(channel);
        }
        unused
    }

    /// A new connection is being prepared, on which nothing is confirmed; answers the channels to subscribe to.
    pub(super) fn reset(&mut self) -> Vec<String> {
        self.confirmed.clear();
        self.by_channel.keys().cloned().collect()
    }

    /// The server has confirmed these channels, and no others, on the connection that is being prepared.
    pub(super) fn confirm(&mut self, channels: Vec<String>) {
        self.confirmed = channels.into_iter().collect();
    }

    /// Another connection is in use: notifies those that began on an earlier one.
    pub(super) fn reconnected(&mut self) {
        self.connections += 1;
        let connections = self.connections;
        for subscriber in self.subscribers.values().filter(|subscriber| subscriber.since < connections) {
            subscriber.feed.send(Received::Reconnected);
        }
    }

    /// Delivers a message to the subscribers of its channel. It is read only if there are any.
    pub(super) fn deliver(&self, channel: &str, read: impl FnOnce() -> Received) {
        let Some(numbers) = self.by_channel.get(channel) else {
            return;
        };
        let received = read();
        for number in numbers {
            if let Some(subscriber) = self.subscribers.get(number) {
                subscriber.feed.send(received.clone());
            }
        }
    }

    /// Ends all subscribers for good, and hands them back to be dropped without the lock.
    pub(super) fn close(&mut self) -> impl Sized + use<> {
        self.closed = true;
        self.by_channel.clear();
        std::mem::take(&mut self.subscribers)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use stanchion::event::{Subscription, feed};

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn add(registry: &mut Registry, channels: &[&str]) -> (u64, impl Subscription + use<>) {
        let number = registry.number().unwrap();
        let (sender, receiver) = feed(4, || {});
        registry.add(number, names(channels), sender);
        (number, receiver)
    }

    #[test]
    fn a_channel_is_used_until_its_last_subscriber_leaves() {
        let mut registry = Registry::default();
        let (first, _one) = add(&mut registry, &["a", "b"]);
        let (second, _two) = add(&mut registry, &["b"]);
        assert!(registry.begin(first, names(&["a", "b"])));
        assert_eq!(registry.unconfirmed(&names(&["b", "c"])), ["c"]);
        assert_eq!(registry.remove(first), ["a"]);
        assert_eq!(registry.remove(second), ["b"]);
        assert!(registry.remove(second).is_empty() && registry.len() == 0);
        let (_, _three) = add(&mut registry, &["b"]);
        assert_eq!(registry.take_unused(names(&["a", "b"])), ["a"], "one has come back meanwhile");
        assert_eq!(registry.unconfirmed(&names(&["a", "b"])), ["a"]);
    }

    #[tokio::test]
    async fn a_denied_channel_ends_its_subscribers_and_no_others() {
        let mut registry = Registry::default();
        let (first, mut both) = add(&mut registry, &["a", "b", "c"]);
        let (second, mut other) = add(&mut registry, &["a"]);
        let (third, mut denied) = add(&mut registry, &["b"]);
        for number in [first, second, third] {
            assert!(registry.begin(number, names(&["a", "b", "c"])));
        }
        let why = Error::new(stanchion::ErrorKind::Denied, "no right");
        let (ended, unused) = registry.deny("b", &why);
        drop(ended);
        assert_eq!(unused, ["c"]);
        assert!(registry.is_wanted("a") && !registry.is_wanted("b") && !registry.is_wanted("c"));
        for subscription in [&mut both, &mut denied] {
            assert!(matches!(subscription.next().await, Some(Received::Ended(_))));
            assert!(subscription.next().await.is_none());
        }
        registry.deliver("a", || Received::Reconnected);
        assert!(matches!(other.next().await, Some(Received::Reconnected)));
        registry.confirm(names(&["a"]));
        assert!(!registry.begin(third, names(&["b"])), "it has ended");
        assert_eq!(registry.unconfirmed(&names(&["a", "b"])), ["b"], "whoever comes next has to ask for it");
        assert_eq!(registry.remove(third), Vec::<String>::new());
    }

    #[tokio::test]
    async fn only_those_that_were_there_before_hear_of_a_reconnection() {
        let mut registry = Registry::default();
        registry.reconnected();
        let (first, mut before) = add(&mut registry, &["a"]);
        assert!(registry.begin(first, names(&["a"])));
        let (second, mut later) = add(&mut registry, &["a"]);
        assert_eq!(registry.reset(), ["a"]);
        registry.confirm(names(&["a"]));
        registry.reconnected();
        assert!(registry.begin(second, Vec::new()));
        drop(registry.close());
        assert!(matches!(before.next().await, Some(Received::Reconnected)));
        assert!(before.next().await.is_none() && later.next().await.is_none());
        assert!(registry.is_closed() && registry.number().is_none());
    }
}
