//! Permission to store on a store without leases: one more look before the load, and a set under the condition that nothing
//! has changed since.
//!
//! Each process loads for itself then. A change by this process during the load is found by the [write fence](super::write_fence)
//! before what was loaded is set, and it is not set; one that comes while it is being set is found after that, and what was
//! set is removed again. A removal by another process is not found, so that a value that was loaded before it may be stored
//! after it, and is stale until its TTL is over.

use super::Loader;
use super::lease::{Leased, Permission, Proof};
use super::lease_guard::LeaseGuard;
use super::plan::{Decision, LoadPlan, SkipIf};
use super::single_flight::Leader;
use crate::cache::read::{Before, Cached, Work, is_callers};
use crate::cache::store::When;
use crate::codec::Codec;
use crate::error::Result;
use crate::key::Key;

impl<T: Cached, C: Codec> Loader<T, C> {
    pub(super) async fn unleased(
        &self,
        key: &Key,
        plan: &LoadPlan<T>,
        leader: &mut Leader<T>,
    ) -> Result<Leased<T>> {
        let identifier = self.reader.identifier(key);
        if let (Some(writes), SkipIf::Never) = (&self.in_flight.writes, plan.skip_if) {
            // What is being loaded already may be older than what this refresh is for: it is not stored in its place.
            writes.changed(identifier);
        }
        // Before the store is read: a change by this process is seen from now on.
        let unchanged = self.in_flight.writes.as_ref().map(|writes| writes.snapshot(identifier));
        let before = Before { again: plan.present, ..self.reader.before(key) };
        leader.begin();
        let (shard, reading) = (self.reader.shard_of(key), self.reader.stored(key));
        let found = match self.reader.gate.ask(shard, Work::READ, reading).await {
            Ok(found) => found,
            Err(error) if is_callers(&error) => return Err(error),
            Err(error) => return self.refused(error).map(Leased::Not),
        };
        let when = match found {
            None => {
                self.reader.forget_near(key);
                When::Absent
            }
            Some((bytes, left)) => {
                match plan.decide(self.reader.assessed(key, &bytes, left, before).await?) {
                    Decision::Load => When::Equals(bytes),
                    Decision::Serve(value) => return Ok(Leased::Not(Permission::Needless(value))),
                    Decision::LeaveAlone => return Ok(Leased::Not(Permission::Refused(None))),
                }
            }
        };
        let guard = LeaseGuard::of(self.reader.gate.store(), &self.reader.environment.tasks, &[]);
        Ok(Leased::Granted(Proof::Unchanged(when, unchanged), guard))
    }
}
