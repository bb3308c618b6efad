//! The bounded buffer between a backend's reader and one subscriber. The reader never waits: what does not
//! fit pushes out the oldest, and the subscriber receives how many as [`Received::Lagged`].

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;

use super::{Received, Subscription};

struct Ring {
    items: VecDeque<Received>,
    capacity: usize,
    lagged: u64,
    ended: bool,
    // Who waits for the next item.
    waiter: Option<Waker>,
}

impl Ring {
    fn next(&mut self) -> Option<Received> {
        // The gap is before everything that is still here.
        match self.lagged {
            0 => self.items.pop_front(),
            _ => Some(Received::Lagged(std::mem::take(&mut self.lagged))),
        }
    }
}

struct Shared(Mutex<Ring>);

impl Shared {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the ring, and wakes who waits for it.
    fn change(&self, change: impl FnOnce(&mut Ring)) {
        let waiter = {
            let mut ring = self.ring();
            change(&mut ring);
            ring.waiter.take()
        };
        // Not under the lock: it may run what asks for the next item.
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    fn end(&self) {
        self.change(|ring| ring.ended = true);
    }
}

/// A feed of at most `capacity` undelivered items. `on_close` runs once, when the subscriber closes or drops
/// its end.
pub fn feed(capacity: usize, on_close: impl FnOnce() + Send + 'static) -> (FeedSender, Feed) {
    let ring =
        Ring { items: VecDeque::new(), capacity: capacity.max(1), lagged: 0, ended: false, waiter: None };
    let shared = Arc::new(Shared(Mutex::new(ring)));
    (FeedSender(Arc::clone(&shared)), Feed { shared, on_close: Some(Box::new(on_close)) })
}

/// The backend's end; ends the feed when it is dropped.
pub struct FeedSender(Arc<Shared>);

impl FeedSender {
    /// Puts an item in, pushing out the oldest if there is no room; never waits. `false` once the feed has
    /// ended.
    pub fn send(&self, item: Received) -> bool {
        let mut sent = false;
        self.0.change(|ring| {
            if ring.ended {
                return;
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
            sent = true;
        });
        sent
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

impl Stream for Feed {
    type Item = Received;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Received>> {
        let mut ring = self.shared.ring();
        match ring.next() {
            Some(item) => Poll::Ready(Some(item)),
            None if ring.ended => Poll::Ready(None),
            None => {
                ring.waiter = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Subscription for Feed {
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
    use futures_util::StreamExt;

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
