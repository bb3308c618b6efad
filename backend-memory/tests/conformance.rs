//! The conformance suite on memory: a handle for each opening of a place, with a bounded cache; and two handles
//! that take turns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stanchion::Result;
use stanchion::clock::{Clock, ManualClock};
use stanchion::environment::Environment;
use stanchion::stores::Stores;
use stanchion_conformance::{Harness, Offers, Place, Stepped, Time, Unavailable, WallStep};
use stanchion_memory::{MemoryBackend, MemoryConfig};

struct Memory {
    name: &'static str,
    // Opening a place gives one of these in turn, or each time another handle if there are none.
    handles: usize,
    // A bound that no case reaches, so that the bookkeeping of the bound is under test too.
    max_cache_bytes: Option<usize>,
    places: Mutex<HashMap<Place, Opened>>,
}

struct Opened {
    backend: MemoryBackend,
    clock: ManualClock,
    handles: Vec<MemoryBackend>,
    times: usize,
}

#[async_trait::async_trait]
impl Harness for Memory {
    fn name(&self) -> &str {
        self.name
    }

    fn offers(&self) -> Offers {
        Offers::all()
    }

    fn time(&self) -> Time {
        Time::Manual
    }

    async fn prepare(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn open(&self, place: &Place) -> Result<Stores> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = places.entry(place.clone()).or_insert_with(|| {
            let clock = ManualClock::new();
            let mut config =
                MemoryConfig::new().environment(Environment::system().clock(Arc::new(clock.clone())));
            config.max_cache_bytes = self.max_cache_bytes;
            let backend = MemoryBackend::with(config);
            let handles = (0..self.handles).map(|_| backend.handle()).collect();
            Opened { backend, clock, handles, times: 0 }
        });
        opened.times += 1;
        Ok(match opened.handles.as_slice() {
            [] => opened.backend.handle().stores(),
            handles => handles[opened.times % handles.len()].stores(),
        })
    }

    async fn advance(&self, place: &Place, by: Duration) {
        if let Some(opened) = self.places.lock().unwrap_or_else(PoisonError::into_inner).get(place) {
            opened.clock.advance(by);
        }
    }

    async fn step_wall_clock(&self, place: &Place, step: WallStep) -> Result<Stepped, Unavailable> {
        if let Some(opened) = self.places.lock().unwrap_or_else(PoisonError::into_inner).get(place) {
            opened.clock.set_wall(step.from(opened.clock.wall()));
        }
        Ok(Stepped::Clock)
    }
}

fn main() -> std::process::ExitCode {
    stanchion_conformance::main([
        Memory { name: "memory", handles: 0, max_cache_bytes: Some(64 << 20), places: Mutex::default() },
        Memory { name: "memory-two-handles", handles: 2, max_cache_bytes: None, places: Mutex::default() },
    ])
}
