//! Areas that are not offered: they must be refused, and the suite must see it where they are not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::Failed;
use stanchion::Result;
use stanchion::stores::Stores;
use stanchion_conformance::{Area, Failure, Harness, Offers, Place, Time, Unavailable, run_refused};

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
