//! One of the processes: its callers, and the loaders that they bring.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use stanchion::cache::Cache;
use stanchion_redis::RedisBackend;
use tokio::task::JoinSet;

use crate::Failure;
use crate::peers::bare_connection;
use crate::stampede::child::{Told, say, wait_for_go};
use crate::timing::{now, pause};

/// The role of a process, as the first of its arguments.
pub(crate) const CHILD: &str = "slow-loader-child";
/// The `wait_timeout` unless set.
pub(super) const WAIT: Duration = Duration::from_secs(6);
pub(super) const LOAD: Duration = Duration::from_millis(100);
pub(super) const FAILS_AFTER: Duration = Duration::from_secs(2);
pub(super) const TAKES: Duration = Duration::from_secs(10);
const CALLERS: u32 = 100;
const KEYS: u32 = 5_000;
/// So many keys each hundredth of a second.
const AT_ONCE: u32 = 50;
const TTL: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(12);

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Ours,
    Moka,
    Bare,
}

impl Side {
    const ALL: [Self; 3] = [Self::Ours, Self::Moka, Self::Bare];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Moka => "moka",
            Self::Bare => "bare",
        }
    }
}

/// What the loader does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Hangs,
    Fails,
    Slow,
}

impl Case {
    const ALL: [Self; 3] = [Self::Hangs, Self::Fails, Self::Slow];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hangs => "hangs",
            Self::Fails => "fails",
            Self::Slow => "slow",
        }
    }
}

/// What the callers of a process share.
#[derive(Clone)]
struct Shared {
    side: Side,
    case: Case,
    cache: Cache<u32>,
    moka: moka::future::Cache<u32, u32>,
    bare: MultiplexedConnection,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    loads: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

/// A loader that runs.
struct Running(Arc<Counts>);

impl Running {
    fn of(counts: &Arc<Counts>) -> Self {
        counts.loads.fetch_add(1, Ordering::Relaxed);
        let running = counts.running.fetch_add(1, Ordering::Relaxed) + 1;
        counts.most.fetch_max(running, Ordering::Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Plays the role in this process.
pub(crate) async fn child(arguments: &[String]) -> Result<(), Failure> {
    let [role, url] = arguments else {
        return Err("a role and a URL are wanted".into());
    };
    let (side, case) = role.split_once('-').ok_or("a side and a case are wanted")?;
    let side = Side::ALL.into_iter().find(|one| one.name() == side).ok_or("no such side")?;
    let case = Case::ALL.into_iter().find(|one| one.name() == case).ok_or("no such case")?;
    let stores = RedisBackend::connect(url).await?.stores();
    let builder = stores.cache("slow").ttl(TTL);
    let shared = Shared {
        side,
        case,
        cache: builder.stale_while_revalidate(Duration::from_mins(10)).build()?,
        moka: moka::future::Cache::builder().time_to_live(TTL).build(),
        bare: bare_connection(url).await?,
        counts: Arc::default(),
    };
    if case == Case::Slow {
        let values: Vec<_> = (0..KEYS).map(|id| (id, id)).collect();
        for values in values.chunks(1_000) {
            shared.cache.set_many(values).await?;
        }
        for (id, value) in values {
            shared.moka.insert(id, value).await;
        }
        pause(TTL + LOAD).await;
    }
    wait_for_go()?;
    let told = ask(&shared).await?;
    say(&serde_json::to_string(&told)?)
}

async fn ask(shared: &Shared) -> Result<Told, Failure> {
    let (mut callers, begun) = (JoinSet::new(), now());
    match shared.case {
        Case::Hangs | Case::Fails => {
            for _ in 0..CALLERS {
                callers.spawn(once(shared.clone(), 0));
            }
        }
        Case::Slow => {
            for tick in 0..KEYS / AT_ONCE {
                for id in tick * AT_ONCE..(tick + 1) * AT_ONCE {
                    callers.spawn(once(shared.clone(), id));
                }
                pause((Duration::from_millis(10) * (tick + 1)).saturating_sub(begun.elapsed())).await;
            }
        }
    }
    let (mut longest, mut served) = (Duration::ZERO, 0);
    while let Some(answered) = callers.join_next().await {
        if let Some(took) = answered?? {
            longest = longest.max(took);
            served += 1;
        }
    }
    let counts = &shared.counts;
    Ok(Told {
        served,
        longest_micros: u64::try_from(longest.as_micros())?,
        loads: counts.loads.load(Ordering::Relaxed),
        most: counts.most.load(Ordering::Relaxed),
    })
}

/// One call, and how long it took; nothing, if it is the one whose own loader hangs.
async fn once(shared: Shared, id: u32) -> Result<Option<Duration>, Failure> {
    let begun = now();
    let hangs = Arc::new(AtomicBool::new(false));
    let load = load(shared.clone(), Arc::clone(&hangs), id);
    let call = async {
        match shared.side {
            Side::Ours => shared
                .cache
                .get_or_load(id, || load)
                .await
                .map(|value| *value)
                .map_err(|error| error.to_string()),
            Side::Moka => shared.moka.try_get_with(id, load).await.map_err(|error| error.to_string()),
            Side::Bare => load.await,
        }
    };
    let answered = tokio::select! {
        answered = call => Some(answered),
        () = pause(LONGEST) => None,
    };
    match (answered, shared.case) {
        (None, Case::Hangs) if hangs.load(Ordering::Relaxed) => Ok(None),
        (None | Some(Ok(_)), Case::Hangs | Case::Slow) | (Some(Err(_)), Case::Fails) => {
            Ok(Some(begun.elapsed()))
        }
        (answered, case) => Err(format!("{case:?} was answered {answered:?}").into()),
    }
}

async fn load(shared: Shared, hangs: Arc<AtomicBool>, id: u32) -> Result<u32, String> {
    let _running = Running::of(&shared.counts);
    let mut bare = shared.bare.clone();
    match shared.case {
        Case::Hangs => {
            let number: usize = bare.incr("slow:loads", 1).await.map_err(|error| error.to_string())?;
            if number == 1 {
                hangs.store(true, Ordering::Relaxed);
                std::future::pending::<()>().await;
            }
            pause(LOAD).await;
            Ok(id)
        }
        Case::Fails => {
            pause(FAILS_AFTER).await;
            Err("down".to_owned())
        }
        Case::Slow => {
            pause(TAKES).await;
            Ok(id)
        }
    }
}
