//! The life of a service: start, serve, close.

use std::future::IntoFuture;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use stanchion::prelude::*;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::arguments::{ServiceKind, ServiceOptions};
use crate::keys::{self, KeyPair};
use crate::{auth, stores, user};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A service that is set up, and does not listen yet.
pub(crate) struct Service {
    pub(crate) router: Router,
    pub(crate) stores: Stores,
    /// The tasks that follow events; they end when the stores are closed.
    pub(crate) followers: Vec<JoinHandle<()>>,
}

impl Service {
    /// Serves until `stop`, finishes the requests that are under way, and closes the stores.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), BoxError> {
        let (stopping, stopped) = oneshot::channel();
        // With the client's address, by which log-ins are limited.
        let app = self.router.into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, app).with_graceful_shutdown(async move {
            stop.await;
            let _ = stopping.send(());
        });
        tokio::select! {
            served = server.into_future() => served?,
            // A request that takes longer is cut off.
            () = async { let _ = stopped.await; self.stores.environment().sleep(seconds(5)).await } => {}
        }
        self.stores.close(seconds(5)).await?;
        for follower in self.followers {
            follower.await?;
        }
        Ok(())
    }
}

/// One service as a process of its own, until it is told to end.
pub(crate) async fn run_alone(options: ServiceOptions) -> Result<(), BoxError> {
    let address = (Ipv4Addr::LOCALHOST, options.port);
    let listener =
        TcpListener::bind(address).await.map_err(|error| format!("port {}: {error}", options.port))?;
    let stores = stores::on_redis(&options.redis, &options.prefix).await?;
    let (name, service) = match options.kind {
        ServiceKind::Auth => {
            (auth::NAME, auth::service(&stores, key_pair()?.signing()?, options.users).await?)
        }
        ServiceKind::User => (user::NAME, user::service(&stores, public_key()?).await?),
    };
    let told_to_end = told_to_end(options.until_eof)?;
    println!("{name} listens on http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    service.serve(listener, told_to_end).await
}

fn key_pair() -> Result<KeyPair, BoxError> {
    if let Some(pair) = KeyPair::from_env()? {
        return Ok(pair);
    }
    let pair = KeyPair::generate()?;
    eprintln!("signing with a key pair of this run; the user service needs its public half:");
    eprintln!("export {}='{}'", keys::PUBLIC, pair.public.trim_end());
    Ok(pair)
}

fn public_key() -> Result<Option<JwtKey>, BoxError> {
    let Ok(public) = std::env::var(keys::PUBLIC) else {
        eprintln!("without {} no token can be verified, and every caller is refused", keys::PUBLIC);
        return Ok(None);
    };
    Ok(Some(keys::verifying(&public)?))
}

/// Resolves at Ctrl-C, at SIGTERM, and, if asked for, at the end of standard input: a pipe ends with the process
/// that holds it, however that one ends. Signals count from this call on, not from the first poll: whoever reads that
/// the service listens may send one at once.
pub(crate) fn told_to_end(until_eof: bool) -> Result<impl Future<Output = ()> + Send, BoxError> {
    let signalled = signalled()?;
    Ok(async move {
        tokio::select! {
            () = signalled => {}
            () = end_of_input(), if until_eof => {}
        }
    })
}

async fn end_of_input() {
    let (reading, read) = oneshot::channel::<()>();
    // A thread of its own: one of the runtime's would keep the process from ending before the input does.
    std::thread::spawn(move || {
        let _reading = reading;
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())
    });
    let _ = read.await;
}

#[cfg(unix)]
fn signalled() -> std::io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn signalled() -> std::io::Result<impl Future<Output = ()> + Send> {
    Ok(async { _ = tokio::signal::ctrl_c().await })
}
