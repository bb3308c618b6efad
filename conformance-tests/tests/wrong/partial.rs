//! Servers to which not everything can be done: the cases that ask for what is lacking are ignored, the others run.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::Failed;
use stanchion::Result;
use stanchion::stores::Stores;
use stanchion_conformance::{
    Failure, Harness, Offers, OwnedServer, Place, Time, Unavailable, cases, run_case,
};

use crate::fault::{Bug, Faulty};

/// What can be done to a server.
#[derive(Debug, Clone, Copy)]
struct Abilities {
    is_away: bool,
    loses_replies: bool,
}

struct Partial {
    all: Faulty,
    abilities: Abilities,
}

#[async_trait]
impl Harness for Partial {
    fn name(&self) -> &'static str {
        "partial-server"
    }

    fn offers(&self) -> Offers {
        self.all.offers()
    }

    fn time(&self) -> Time {
        self.all.time()
    }

    async fn prepare(&self) -> Result<(), Unavailable> {
        self.all.prepare().await
    }

    async fn open(&self, place: &Place) -> Result<Stores> {
        self.all.open(place).await
    }

    async fn advance(&self, place: &Place, by: Duration) {
        self.all.advance(place, by).await;
    }

    async fn owned_server(&self) -> Result<Box<dyn OwnedServer>, Unavailable> {
        let all = self.all.owned_server().await?;
        Ok(match self.abilities {
            Abilities { is_away: true, loses_replies: false } => Box::new(Away(all)),
            Abilities { is_away: false, loses_replies: true } => Box::new(Losing(all)),
            Abilities { is_away: false, loses_replies: false } => Box::new(Neither(all)),
            Abilities { is_away: true, loses_replies: true } => all,
        })
    }
}

/// Like a database in a file, which may be away.
struct Away(Box<dyn OwnedServer>);
struct Losing(Box<dyn OwnedServer>);
struct Neither(Box<dyn OwnedServer>);

#[async_trait]
impl OwnedServer for Away {
    async fn open(&self, place: &Place) -> Result<Stores> {
        self.0.open(place).await
    }

    fn deadline(&self) -> Duration {
        self.0.deadline()
    }

    async fn stop(&self) -> Result<(), Unavailable> {
        self.0.stop().await
    }

    async fn start(&self) -> Result<(), Unavailable> {
        self.0.start().await
    }
}

#[async_trait]
impl OwnedServer for Losing {
    async fn open(&self, place: &Place) -> Result<Stores> {
        self.0.open(place).await
    }

    fn deadline(&self) -> Duration {
        self.0.deadline()
    }

    async fn lose_reply_to(&self, text: &str) -> Result<(), Unavailable> {
        self.0.lose_reply_to(text).await
    }
}

#[async_trait]
impl OwnedServer for Neither {
    async fn open(&self, place: &Place) -> Result<Stores> {
        self.0.open(place).await
    }

    fn deadline(&self) -> Duration {
        self.0.deadline()
    }
}

/// The cases of faults that pass, fail and are ignored.
async fn run_all(bug: Option<Bug>, abilities: Abilities) -> Result<[Vec<&'static str>; 3], Failed> {
    let [mut passed, mut failed, mut ignored] = [Vec::new(), Vec::new(), Vec::new()];
    for case in cases::fault::RULES.iter().flat_map(|rule| rule.cases) {
        match run_case(Arc::new(Partial { all: Faulty::new(bug), abilities }), case).await {
            Ok(()) => passed.push(case.name),
            Err(Failure::Failed { .. }) => failed.push(case.name),
            Err(Failure::Ignored(why))
                if why.contains("can't be taken away") || why.contains("no replies") =>
            {
                ignored.push(case.name);
            }
            Err(other) => return Err(format!("{}: {other}", case.name).into()),
        }
    }
    Ok([passed, failed, ignored])
}

/// With each set of abilities those cases run that need no other, right or wrong.
pub(crate) async fn what_is_lacking_is_ignored_and_the_rest_runs() -> Result<(), Failed> {
    let lost_reply = |name: &&str| name.starts_with("lost_reply::");
    let all: Vec<_> = cases::fault::RULES.iter().flat_map(|rule| rule.cases).map(|case| case.name).collect();
    let (of_replies, of_outages): (Vec<&str>, Vec<&str>) = all.iter().partition(|name| lost_reply(name));
    for (is_away, loses_replies) in [(true, true), (true, false), (false, true), (false, false)] {
        let runs = |name: &&&str| if lost_reply(name) { loses_replies } else { is_away };
        let expected: Vec<_> = all.iter().filter(runs).copied().collect();
        let [passed, failed, ignored] = run_all(None, Abilities { is_away, loses_replies }).await?;
        if passed != expected || !failed.is_empty() || passed.len() + ignored.len() != all.len() {
            return Err(format!("{expected:?} should pass: {passed:?} did, {failed:?} did not").into());
        }
    }
    // A partial server makes nothing pass that is wrong.
    for (bug, abilities, cases) in [
        (Bug::BlamesItself, Abilities { is_away: true, loses_replies: false }, &of_outages),
        (Bug::LostIsNotApplied, Abilities { is_away: false, loses_replies: true }, &of_replies),
    ] {
        let [_, failed, _] = run_all(Some(bug), abilities).await?;
        if failed.is_empty() || failed.iter().any(|name| !cases.contains(name)) {
            return Err(format!("of {cases:?} some should fail with {bug:?}, {failed:?} do").into());
        }
    }
    Ok(())
}
