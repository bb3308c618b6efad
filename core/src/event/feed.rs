//! The bounded buffer between a backend's reader and one subscriber. The reader never waits: what does not
//! fit pushes out the oldest, and the subscriber is told how many.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{Received, Subscription};

struct Ring {
    items: VecDeque<Received>,
    capacity: usize,
    lagged: u64,
    ended: bool,
}

struct Shared {
    ring: Mutex<Ring>,
    news: Notify,
}

impl Shared {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.ring().ended = true;
        self.news.notify_one();
    }
}

/// A feed of at most `capacity` undelivered items. `on_close` runs once, when the subscriber closes or drops
/// its end.
pub fn feed(capacity: usize, on_close: impl FnOnce() + Send + 'static) -> (FeedSender, Feed) {
    let ring = Ring { items: VecDeque::new(), capacity: capacity.max(1), lagged: 0, ended: false };
    let shared = Arc::new(Shared { ring: Mutex::new(ring), news: Notify::new() });
    (FeedSender(Arc::clone(&shared)), Feed { shared, on_close: Some(Box::new(on_close)) })
}

/// The backend's end; ends the feed when it is dropped.
pub struct FeedSender(Arc<Shared>);

impl FeedSender {
    /// Puts an item in, pushing out the oldest if there is no room; never waits. `false` once the feed has
    /// ended.
    pub fn send(&self, item: Received) -> bool {
        let mut ring = self.0.ring();
        if ring.ended {
            return false;
        }
        if ring.items.len() == ring.capacity {
            // What is pushed out may itself stand for lost events.
            ring.lagged += match ring.items.pop_front() {
                Some(Received::Lagged(n)) => n,
                Some(_) => 1,
                None => 0,
            };
        }
        ring.items.push_back(item);
        drop(ring);
        self.0.news.notify_one();
        true
    }
}

impl Drop for FeedSender {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl fmt::Debug for FeedSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FeedSender")
    }
}

/// The subscriber's end.
pub struct Feed {
    shared: Arc<Shared>,
    on_close: Option<Box<dyn FnOnce() + Send>>,
}

#[async_trait]
impl Subscription for Feed {
    async fn next(&mut self) -> Option<Received> {
        loop {
            {
                let mut ring = self.shared.ring();
                // The gap is before everything that is still here.
                if ring.lagged > 0 {
                    return Some(Received::Lagged(std::mem::take(&mut ring.lagged)));
                }
                if let Some(item) = ring.items.pop_front() {
                    return Some(item);
                }
                if ring.ended {
                    return None;
                }
            }
            self.shared.news.notified().await;
        }
    }

    fn close(&mut self) {
        self.shared.end();
        if let Some(on_close) = self.on_close.take() {
            on_close();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(items: &[Option<Received>]) -> Vec<String> {
        items
            .iter()
            .map(|item| match item {
                Some(Received::Lagged(n)) => format!("lagged {n}"),
                Some(Received::Malformed(e)) => e.to_string(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    fn item(n: u32) -> Received {
        Received::Malformed(crate::Error::invalid(n.to_string()))
    }

    #[tokio::test]
    async fn the_oldest_make_room_and_are_counted() {
        let (sender, mut feed) = feed(2, || ());
        (1..=5).for_each(|n| assert!(sender.send(item(n))));
        drop(sender);
        let got = [feed.next().await, feed.next().await, feed.next().await, feed.next().await];
        assert_eq!(numbers(&got), ["lagged 3", "invalid input: 4", "invalid input: 5", "None"]);
    }

    #[tokio::test]
    async fn closing_tells_the_backend_once_and_keeps_what_is_there() {
        let (tx, rx) = std::sync::mpsc::channel();
        let (sender, mut feed) = feed(2, move || tx.send(()).unwrap());
        assert!(sender.send(item(1)));
        feed.close();
        assert!(!sender.send(item(2)));
        assert_eq!(numbers(&[feed.next().await, feed.next().await]), ["invalid input: 1", "None"]);
        drop(feed);
        assert_eq!(rx.iter().count(), 1);
    }
}
