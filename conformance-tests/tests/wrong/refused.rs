//! Areas and parts that are not offered: they must be refused, and the suite must see it where they are not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::Failed;
use stanchion::Result;
use stanchion::cache::CacheParts;
use stanchion::stores::Stores;
use stanchion_conformance::{
    Area, Failure, Harness, Offers, OwnedServer, Part, Place, Time, Unavailable, cases, run_case,
    run_refused, run_without,
};
use stanchion_memory::{MemoryBackend, MemoryConfig};

use crate::backend::{Bug, Wrong};
use crate::stores::Life;

/// The areas that a backend can leave out.
pub(crate) const AREAS: [Area; 6] =
    [Area::Cache, Area::Session, Area::Event, Area::Lock, Area::Limit, Area::Token];

/// A backend that does not offer an area, and has it all the same or not.
struct Partial {
    right: Wrong,
    area: Area,
    has_it: bool,
}

#[async_trait]
impl Harness for Partial {
    fn name(&self) -> &'static str {
        "partial"
    }

    fn offers(&self) -> Offers {
        let mut offers = Offers::all();
        match self.area {
            Area::Cache => offers.cache = false,
            Area::Session => offers.session = false,
            Area::Event => offers.event = false,
            Area::Lock => offers.lock = false,
            Area::Limit => offers.limit = false,
            Area::Token => offers.token = false,
            Area::Stores | Area::Fault => {}
        }
        offers
    }

    fn time(&self) -> Time {
        self.right.time()
    }

    async fn prepare(&self) -> Result<(), Unavailable> {
        self.right.prepare().await
    }

    async fn open(&self, place: &Place) -> Result<Stores> {
        let right = self.right.open(place).await?;
        let mut some = Stores::builder(right.environment().clone()).life_of(Arc::new(Life::of(&right)));
        for area in AREAS.into_iter().filter(|area| self.has_it || *area != self.area) {
            some = match area {
                Area::Cache => some.cache(right.cache_store()?),
                Area::Session => some.sessions(right.session_store()?),
                Area::Event => some.events(right.event_bus()?),
                Area::Lock => some.locks(right.locker()?),
                Area::Limit => some.limits(right.rate_limiter()?),
                Area::Token => some.tokens(right.token_store()?),
                Area::Stores | Area::Fault => some,
            };
        }
        Ok(some.build())
    }

    async fn advance(&self, place: &Place, by: Duration) {
        self.right.advance(place, by).await;
    }
}

async fn ask(area: Area, has_it: bool) -> Result<(), Failure> {
    let partial = Partial { right: Wrong::new(Bug::None), area, has_it };
    run_refused(Arc::new(partial), area).await
}

/// A backend that leaves the area out refuses it.
pub(crate) async fn left_out_passes(area: Area) -> Result<(), Failed> {
    ask(area, false).await.map_err(Failed::from)
}

/// A backend that says that it has no such area, and answers it, turns the run red.
pub(crate) async fn answered_fails(area: Area) -> Result<(), Failed> {
    match ask(area, true).await {
        Err(Failure::Failed { expected, observed })
            if expected.contains("refused as unsupported") && observed.contains("Ok") =>
        {
            Ok(())
        }
        other => {
            Err(format!("an area that is not offered was answered, and the suite says {other:?}").into())
        }
    }
}

/// All parts but this one.
fn all_but(part: Part) -> CacheParts {
    let all = CacheParts::all();
    match part {
        Part::Leases => all.leases(false),
        Part::Tags => all.tags(false),
        Part::Feed => all.feed(false),
        Part::Counters => all.counters(false),
    }
}

/// A cache that leaves the part out, as it says, does without it what the contract says.
pub(crate) async fn part_left_out_passes(part: Part) -> Result<(), Failed> {
    let lacking = Wrong::with_parts(all_but(part), all_but(part));
    run_without(Arc::new(lacking), part).await.map_err(Failed::from)
}

/// A cache that says that it has no such part, and has it, turns the run red.
pub(crate) async fn part_that_is_there_fails(part: Part) -> Result<(), Failed> {
    let whole = Wrong::with_parts(CacheParts::all(), all_but(part));
    match run_without(Arc::new(whole), part).await {
        Err(Failure::Failed { expected, observed })
            if expected == format!("no {}, as declared", part.name()) && observed.contains("CacheParts") =>
        {
            Ok(())
        }
        other => Err(format!("a part that is not offered is there, and the suite says {other:?}").into()),
    }
}

/// The cases that are run on a cache without the part don't ask for it; and those that ask for it fail there.
pub(crate) async fn part_is_not_needed_where_it_is_left_out(part: Part) -> Result<(), Failed> {
    let harness = || Wrong::with_parts(all_but(part), all_but(part));
    let offered = cases::offered(&harness());
    let is_offered =
        |name: &str| offered.iter().any(|(area, _, case)| *area == Area::Cache && case.name == name);
    let mut left_out = 0;
    for case in cases::cache::RULES.iter().flat_map(|rule| rule.cases) {
        match (run_case(Arc::new(harness()), case).await, is_offered(case.name)) {
            (Ok(()), true) => {}
            // What is in memory is in one process.
            (Err(Failure::Ignored(_)), _) if case.name.starts_with("process::") => {}
            (Err(Failure::Failed { .. }), false) => left_out += 1,
            (outcome, is_run) => {
                return Err(format!("{}, which is run: {is_run}, gave {outcome:?}", case.name).into());
            }
        }
    }
    if left_out == 0 { Err("no case asks for the part".into()) } else { Ok(()) }
}

/// A cache of values alone passes what is run on it.
pub(crate) async fn values_alone_pass() -> Result<(), Failed> {
    let harness = || Wrong::with_parts(CacheParts::none(), CacheParts::none());
    for (area, _, case) in cases::offered(&harness()) {
        if area == Area::Cache && !case.name.starts_with("process::") {
            let outcome = run_case(Arc::new(harness()), case).await;
            outcome.map_err(|failure| format!("{}:\n{failure}", case.name))?;
        }
    }
    Ok(())
}

/// A server to which nothing can be done, with a cache that has no counters.
struct Uncounted;

#[async_trait]
impl OwnedServer for Uncounted {
    async fn open(&self, _place: &Place) -> Result<Stores> {
        let config = MemoryConfig::new().cache_parts(all_but(Part::Counters));
        Ok(MemoryBackend::with(config).stores())
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(1)
    }
}

#[async_trait]
impl Harness for Uncounted {
    fn name(&self) -> &'static str {
        "uncounted"
    }

    fn offers(&self) -> Offers {
        let mut offers = Offers::all();
        offers.cache_parts = all_but(Part::Counters);
        offers
    }

    fn time(&self) -> Time {
        Time::Real
    }

    async fn prepare(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn open(&self, place: &Place) -> Result<Stores> {
        OwnedServer::open(self, place).await
    }

    async fn advance(&self, _place: &Place, _by: Duration) {}

    async fn owned_server(&self) -> Result<Box<dyn OwnedServer>, Unavailable> {
        Ok(Box::new(Self))
    }
}

/// The cases of faults add to no counters where there are none: what they have left they ask for, up to the first order.
pub(crate) async fn faults_count_without_counters() -> Result<(), Failed> {
    for case in cases::fault::RULES.iter().flat_map(|rule| rule.cases) {
        match run_case(Arc::new(Uncounted), case).await {
            Err(Failure::Ignored(why)) if why.starts_with("what the store stands on") => {}
            Err(Failure::Ignored(why)) if why.starts_with("there are no replies") => {}
            other => return Err(format!("{} gave {other:?}", case.name).into()),
        }
    }
    Ok(())
}
