//! How scripts are run: by their hash, and once more what a server did not know or could not get at.

use redis::Value;
use stanchion::{Error, Result};

use super::client::Client;
use crate::command::{Call, Routed, Scripts, Step};
use crate::error::Refusal;

impl Client {
    /// Runs the one call of these scripts.
    pub(crate) async fn run(&self, call: Call, script: Scripts<impl Fn(Step) -> Routed>) -> Result<Value> {
        self.within(call, |call| self.step(call, script)).await
    }

    /// The same as a step of a call that is under way, whose deadline it has.
    ///
    /// It is the [runner](Self::run_all) without the lists: nothing is allocated for a call that succeeds at once.
    pub(crate) async fn step(&self, call: Call, script: Scripts<impl Fn(Step) -> Routed>) -> Result<Value> {
        match self.send(call, &script.first(0)).await {
            Err(error) if is_repeated(&script, &error) => {
                let replies = Box::pin(self.repeat(call, &script, vec![Err(error)])).await;
                replies.into_iter().next().unwrap_or_else(|| Err(call.unexpected()))
            }
            outcome => outcome,
        }
    }

    /// Runs all calls of these scripts, in one pipelined write per master; the replies in the order of the calls. An error of
    /// one is its own; a lost connection is that of all that went over it.
    pub(crate) async fn run_all(
        &self,
        call: Call,
        scripts: Scripts<impl Fn(Step) -> Routed>,
    ) -> Result<Vec<Result<Value>>> {
        let replies = self.within(call, |call| async move { Ok(self.steps(call, scripts).await) }).await?;
        Ok(replies.into_iter().map(|reply| reply.map_err(|error| call.named(error))).collect())
    }

    /// The same as a step of a call that is under way, whose deadline it has.
    pub(crate) async fn steps(
        &self,
        call: Call,
        scripts: Scripts<impl Fn(Step) -> Routed>,
    ) -> Vec<Result<Value>> {
        let replies = self.send_all(call, (0..scripts.len()).map(|at| scripts.first(at)).collect()).await;
        let repeated = |reply: &Result<Value>| matches!(reply, Err(e) if is_repeated(&scripts, e));
        if !replies.iter().any(repeated) {
            return replies;
        }
        Box::pin(self.repeat(call, &scripts, replies)).await
    }

    /// Repeats those of the calls that were refused and did nothing: first by source what was unknown by its hash, then in
    /// two parts those whose keys are split. Each step is one write per master.
    async fn repeat<B>(
        &self,
        call: Call,
        scripts: &Scripts<B>,
        mut replies: Vec<Result<Value>>,
    ) -> Vec<Result<Value>>
    where
        B: Fn(Step) -> Routed,
    {
        self.repeat_by_source(call, &mut replies, |at| scripts.first_by_source(at)).await;
        let split = if scripts.is_separable() { positions(&replies, is_split) } else { Vec::new() };
        if split.is_empty() {
            return replies;
        }
        let voided = self.send_all(call, split.iter().map(|at| scripts.lease(*at)).collect()).await;
        let mut changed = Vec::new();
        for (at, reply) in split.into_iter().zip(voided) {
            match reply {
                Ok(_) => changed.push(at),
                // The entry is left as it was: with the lease in place a load could still fill it with what is older.
                Err(_) => replies[at] = reply,
            }
        }
        let mut entries = self.send_all(call, changed.iter().map(|at| scripts.entry(*at)).collect()).await;
        self.repeat_by_source(call, &mut entries, |at| scripts.entry_by_source(changed[at])).await;
        for (at, reply) in changed.into_iter().zip(entries) {
            replies[at] = reply;
        }
        replies
    }

    /// Sends once more, by its source, what a server did not know by its hash.
    async fn repeat_by_source(
        &self,
        call: Call,
        replies: &mut [Result<Value>],
        command: impl Fn(usize) -> Routed,
    ) {
        let unknown = positions(replies, is_unknown);
        if unknown.is_empty() {
            return;
        }
        let again = unknown.iter().map(|at| command(*at)).collect();
        for (at, reply) in unknown.into_iter().zip(self.send_all(call, again).await) {
            replies[at] = reply;
        }
    }
}

/// Whether a call with this error is sent once more, since the server did nothing.
fn is_repeated<B: Fn(Step) -> Routed>(scripts: &Scripts<B>, error: &Error) -> bool {
    is_unknown(error) || (scripts.is_separable() && is_split(error))
}

/// The server does not know the script by its hash.
fn is_unknown(error: &Error) -> bool {
    matches!(Refusal::of(error), Some(Refusal::NoScript))
}

/// The keys of the script are split between two nodes now.
pub(crate) fn is_split(error: &Error) -> bool {
    matches!(Refusal::of(error), Some(Refusal::TryAgain))
}

/// The positions of the replies that are such an error.
fn positions(replies: &[Result<Value>], is: impl Fn(&Error) -> bool) -> Vec<usize> {
    (0..replies.len()).filter(|at| matches!(&replies[*at], Err(error) if is(error))).collect()
}
