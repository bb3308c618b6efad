//! A layer that writes down the calls that pass through it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stanchion::Result;
use stanchion::layer::{Answer, Around, Call};

#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<Call>>>);

impl Seen {
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Around for Seen {
    fn deadline(&self, own: Option<Duration>) -> Option<Duration> {
        own
    }

    async fn call<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        mut work: impl FnMut() -> Answer<'a, T> + Send + 'a,
    ) -> Result<T> {
        self.0.lock().unwrap().push(call);
        work().await
    }
}
