//! Random sequences of operations, answered by Redis as memory answers them: standalone and Cluster.
//!
//! `PROPTEST_CASES` says how many sequences; a few by default, thousands in `just soak`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion_conformance::model::{World, agree, cases};
use stanchion_conformance::servers::{RedisServer, Topology};
use stanchion_conformance::{Offers, Place};
use stanchion_memory::{MemoryBackend, MemoryConfig};
use stanchion_redis::{RedisBackend, RedisConfig};
use tokio::runtime::Runtime;

/// How long a sequence may be.
const MOST: usize = 60;
/// How many sequences, unless the environment says.
const USUAL: u32 = 64;

fn memory() -> World {
    let clock = ManualClock::new();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let backend = MemoryBackend::with(MemoryConfig::new().environment(environment));
    let handles = vec![backend.stores(), backend.handle().stores()];
    World::new(handles).ticking(move || clock.advance(Duration::from_millis(1)))
}

/// Two processes on a prefix that nobody has used.
async fn redis(topology: Topology, urls: &[String]) -> stanchion::Result<World> {
    let place = Place::fresh();
    let mut handles = Vec::new();
    for _ in 0..2 {
        let config = match topology {
            Topology::Cluster => RedisConfig::cluster(urls.iter().map(String::as_str))?,
            Topology::Standalone => RedisConfig::standalone(urls.first().map_or("", String::as_str))?,
        };
        let config = config.prefix(place.prefix())?.deadline(Duration::from_secs(10));
        handles.push(RedisBackend::connect(config).await?.stores());
    }
    Ok(World::new(handles))
}

fn agrees(topology: Topology) -> Result<Completion, Failed> {
    let runtime = Runtime::new()?;
    let server = match runtime.block_on(RedisServer::find(topology)) {
        Ok(server) => server,
        Err(absent) if absent.fatal => return Err(absent.into()),
        Err(absent) => return Ok(Completion::ignored_with(absent)),
    };
    let urls = server.urls();
    let subject = async || match redis(topology, &urls).await {
        Ok(world) => world,
        // No answers at all differ from any.
        Err(error) => panic!("can't connect: {error}"),
    };
    agree(&runtime, Offers::all(), cases(USUAL), MOST, async || memory(), subject)?;
    Ok(Completion::Completed)
}

fn main() -> ExitCode {
    let trials = vec![
        Trial::ignorable_test("redis_answers_as_memory_does", || agrees(Topology::Standalone)),
        Trial::ignorable_test("a_cluster_answers_as_memory_does", || agrees(Topology::Cluster)),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
