//! What cases of feeds of changes share.

use std::sync::Arc;

use stanchion::cache::Watch;
use stanchion::changes::{ChangeFeed, ChangeWatcher};
use stanchion::key::Name;
use tokio::sync::watch;

use crate::Outcome;
use crate::check::{PATIENCE, fail};

/// What a watcher was notified of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    Restored,
    Lost,
    Changed(String),
}

/// Writes down what it is notified of.
#[derive(Debug)]
pub(super) struct Recorder(watch::Sender<Vec<News>>);

impl ChangeWatcher for Recorder {
    fn changed(&self, name: &str) {
        self.0.send_modify(|news| news.push(News::Changed(name.to_owned())));
    }

    fn lost(&self) {
        self.0.send_modify(|news| news.push(News::Lost));
    }

    fn restored(&self) {
        self.0.send_modify(|news| news.push(News::Restored));
    }
}

impl Recorder {
    pub(super) fn news(&self) -> Vec<News> {
        self.0.borrow().clone()
    }

    pub(super) fn heard(&self, name: &str) -> usize {
        heard_in(&self.news(), name)
    }

    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&[News]) -> bool) -> Outcome {
        let mut seen = self.0.subscribe();
        match tokio::time::timeout(PATIENCE, seen.wait_for(|news| is_so(news))).await {
            Ok(Ok(_)) => Ok(()),
            _ => fail(format!("{what}, notified within {PATIENCE:?}"), self.news()),
        }
    }

    /// Does something with what is stored under a name, and waits until that is notified.
    pub(super) async fn notifies(
        &self,
        what: &str,
        name: &str,
        work: impl Future<Output = Outcome>,
    ) -> Outcome {
        let before = self.heard(name);
        work.await?;
        let changed = News::Changed(name.to_owned());
        let more = |news: &[News]| news.iter().filter(|news| **news == changed).count() > before;
        self.until(&format!("{what} {name}"), more).await
    }
}

/// How often a change of this name was notified.
pub(super) fn heard_in(news: &[News], name: &str) -> usize {
    news.iter().filter(|news| matches!(news, News::Changed(changed) if changed == name)).count()
}

/// A watch of a service, from which on every change is notified. A store may be of several servers, each with some of the names: what is
/// changed again and again is notified at last, and then its server is heard.
pub(super) async fn watched<F: Future<Output = Outcome>>(
    feed: &dyn ChangeFeed,
    service: &Name,
    names: &[String],
    change: impl Fn(usize) -> F,
) -> Outcome<(Watch, Arc<Recorder>)> {
    let recorder = Arc::new(Recorder(watch::channel(Vec::new()).0));
    let watch = feed.watch(service, Arc::clone(&recorder) as Arc<dyn ChangeWatcher>)?;
    recorder.until("restored", |news| news.contains(&News::Restored)).await?;
    for (index, name) in names.iter().enumerate() {
        let heard = async {
            while recorder.heard(name) == 0 {
                change(index).await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, crate::Failure>(())
        };
        match tokio::time::timeout(PATIENCE, heard).await {
            Ok(heard) => heard?,
            Err(_) => {
                return fail(format!("a change of {name}, notified within {PATIENCE:?}"), recorder.news());
            }
        }
    }
    Ok((watch, recorder))
}
