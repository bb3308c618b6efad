//! Starting and ending both services, in this process or as two of their own.

use std::net::Ipv4Addr;

use stanchion::random::{Random, SystemRandom};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::children::Child;
use crate::keys::{self, KeyPair};
use crate::service::{BoxError, Service};
use crate::{auth, stores, user};

/// Both services, listening.
pub(super) struct Services {
    pub(super) how: String,
    pub(super) auth: String,
    pub(super) user: String,
    parts: Parts,
}

/// The user service is the first to start and the last to end: the auth service asks it.
enum Parts {
    InProcess(Vec<Task>),
    Processes(Vec<Child>),
}

struct Task {
    /// Dropping it ends the service.
    running: oneshot::Sender<()>,
    outcome: JoinHandle<Result<(), BoxError>>,
}

impl Services {
    pub(super) async fn in_process() -> Result<Self, BoxError> {
        let (for_auth, for_user) = stores::on_memory();
        let pair = KeyPair::generate()?;
        let (user, user_task) =
            listen(user::service(&for_user, Some(keys::verifying(&pair.public)?)).await?).await?;
        let (auth, auth_task) =
            listen(auth::service(&for_auth, pair.signing()?, user.clone()).await?).await?;
        let how = "Two services in one process, on memory.".to_owned();
        Ok(Self { how, auth, user, parts: Parts::InProcess(vec![auth_task, user_task]) })
    }

    /// This program twice more, on a Redis. The keys and the URL, which may hold a password, go by the environment,
    /// where other users of the machine can't see them.
    pub(super) async fn as_processes(redis: &str) -> Result<Self, BoxError> {
        let pair = KeyPair::generate()?;
        let prefix = own_prefix()?;
        let public = (keys::PUBLIC, pair.public.as_str());
        let redis = ("REDIS_URL", redis);
        let user = Child::start(&[user::NAME, "--prefix", &prefix], &[redis, public]).await?;
        let auth = Child::start(
            &[auth::NAME, "--prefix", &prefix, "--users", &user.url],
            &[redis, public, (keys::PRIVATE, &pair.private)],
        )
        .await?;
        Ok(Self {
            how: format!("Two processes on one Redis, all keys under {prefix}:"),
            auth: auth.url.clone(),
            user: user.url.clone(),
            parts: Parts::Processes(vec![auth, user]),
        })
    }

    /// Ends both, and says if one of them could not close in order.
    pub(super) async fn stop(self) -> Result<(), BoxError> {
        match self.parts {
            Parts::InProcess(tasks) => {
                for Task { running, outcome } in tasks {
                    drop(running);
                    outcome.await??;
                }
            }
            Parts::Processes(children) => {
                for child in children {
                    child.stop().await?;
                }
            }
        }
        Ok(())
    }
}

async fn listen(service: Service) -> Result<(String, Task), BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (running, ended) = oneshot::channel::<()>();
    let stop = async {
        let _ = ended.await;
    };
    let outcome = tokio::spawn(service.serve(listener, stop));
    Ok((url, Task { running, outcome }))
}

/// Runs on the same Redis don't see each other's keys.
fn own_prefix() -> stanchion::Result<String> {
    let mut bytes = [0; 4];
    SystemRandom.fill(&mut bytes)?;
    Ok(format!("demo-{:08x}", u32::from_be_bytes(bytes)))
}
