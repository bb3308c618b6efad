//! Any number of tasks, each of which does one operation after the other.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::Failure;
use crate::rounds::Rounds;
use crate::timing::{rate, timed};

/// Something that an operation is done with. Each task has its own clone.
pub(crate) trait Client: Clone + Send + Sync + 'static {
    /// One operation, on the key of this number.
    fn once(&mut self, key: usize) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The time that `tasks` tasks take for `per_task` operations each, on `keys` keys in turn.
async fn together<C: Client>(
    client: &C,
    keys: usize,
    tasks: usize,
    per_task: usize,
) -> Result<Duration, Failure> {
    let work = async {
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let mut client = client.clone();
                tokio::spawn(async move {
                    for turn in 0..per_task {
                        client.once((task * 31 + turn) % keys).await?;
                    }
                    Ok::<_, Failure>(())
                })
            })
            .collect();
        for task in running {
            task.await??;
        }
        Ok::<_, Failure>(())
    };
    let (done, elapsed) = timed(work).await;
    done.map(|()| elapsed)
}

type Run = dyn Fn(usize, usize) -> BoxFuture<'static, Result<Duration, Failure>>;

/// One of those that are compared.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    run: Box<Run>,
    // By how much fewer operations it is given than the others, because it is so much slower.
    fewer: usize,
}

impl Variant {
    pub(crate) fn new<C: Client>(name: &'static str, keys: usize, client: C) -> Self {
        let run = Box::new(move |tasks, per_task| {
            let client = client.clone();
            async move { together(&client, keys, tasks, per_task).await }.boxed()
        });
        Self { name, run, fewer: 1 }
    }

    /// Measured over fewer operations.
    pub(crate) fn fewer(self, fewer: usize) -> Self {
        Self { fewer, ..self }
    }
}

/// Measures the variants in rounds, after one that warms up; in operations per second.
pub(crate) async fn compare(
    variants: &[Variant],
    count: usize,
    tasks: usize,
    operations: usize,
) -> Result<Rounds, Failure> {
    let mut rounds = Rounds::of(variants.len());
    for round in 0..=count {
        let mut measured = vec![0.0; variants.len()];
        for index in rounds.order(round) {
            let variant = &variants[index];
            let per_task = (operations / variant.fewer / tasks).max(1);
            measured[index] = rate(per_task * tasks, (variant.run)(tasks, per_task).await?);
        }
        if round > 0 {
            rounds.add(measured);
        }
    }
    Ok(rounds)
}
