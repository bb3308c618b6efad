//! A Redis in a container.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use testcontainers::bollard::models::PortBinding;
use testcontainers::core::client::docker_client_instance;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use super::watcher::ContainerWatch;
use super::{link, wait};

const START: Duration = Duration::from_mins(1);
/// How long an engine may take to say that it is there.
const ENGINE: Duration = Duration::from_secs(5);
const REDIS: u16 = 6379;

/// A container with a Redis, its port mapped to 127.0.0.1; removed with this value.
///
/// A thread of its own starts and removes it, so that it can be dropped anywhere, outside a runtime too.
#[derive(Debug)]
pub struct RedisContainer {
    addr: SocketAddr,
    id: String,
    image: String,
    end: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    // After the thread: it finds the container gone, unless the thread could not remove it.
    _watch: Option<ContainerWatch>,
}

/// Why there is no container.
#[derive(Debug)]
pub(super) enum NoContainer {
    /// No engine answers, or it has not got the image and was not asked to fetch it.
    Absent(String),
    /// There should have been one.
    Failed(String),
}

impl RedisContainer {
    /// Starts `image`, a `name:tag`. Unless `pull`, an engine that has not got the image counts as absent.
    pub(super) async fn start(image: &str, pull: bool) -> Result<Self, NoContainer> {
        let (end, ended) = mpsc::channel();
        let (started, starting) = tokio::sync::oneshot::channel();
        let name = image.to_owned();
        let thread = std::thread::spawn(move || own(&name, pull, started, &ended));
        let answer =
            starting.await.unwrap_or_else(|_| Err(NoContainer::Failed("its thread ended".to_owned())));
        let container = match answer {
            Ok((id, addrs)) => {
                let watch = ContainerWatch::new(&id).ok();
                let (end, thread) = (Some(end), Some(thread));
                let container =
                    Self { addr: addrs[0], id, image: image.to_owned(), end, thread, _watch: watch };
                container.reached(&addrs).await?
            }
            Err(absent) => return Err(absent),
        };
        Ok(container)
    }

    /// 127.0.0.1 first; the address the engine is said to be at only where nothing answers there.
    async fn reached(mut self, addrs: &[SocketAddr]) -> Result<Self, NoContainer> {
        let mut why = String::new();
        for addr in addrs {
            let answer =
                wait::until(&self.image, Duration::from_secs(15), || link::tell(*addr, &["PING"])).await;
            match answer {
                Ok(_) => {
                    self.addr = *addr;
                    return Ok(self);
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(NoContainer::Failed(format!("the container does not answer: {why}")))
    }

    /// `redis://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Where it listens on this side.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The engine's id of it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it was made from.
    pub fn image(&self) -> &str {
        &self.image
    }
}

impl Drop for RedisContainer {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Started = tokio::sync::oneshot::Sender<Result<(String, Vec<SocketAddr>), NoContainer>>;

/// Starts the container, says where, and removes it when told to.
fn own(image: &str, pull: bool, started: Started, ended: &mpsc::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(NoContainer::Failed(error.to_string())));
            return;
        }
    };
    runtime.block_on(async {
        match run(image, pull).await {
            Ok((container, addrs)) => {
                let id = container.id().to_owned();
                if started.send(Ok((id, addrs))).is_ok() {
                    // An error is the end too: the sender is gone.
                    let _ = ended.recv();
                }
                let _ = container.rm().await;
            }
            Err(absent) => {
                let _ = started.send(Err(absent));
            }
        }
    });
}

async fn run(
    image: &str,
    pull: bool,
) -> Result<(ContainerAsync<GenericImage>, Vec<SocketAddr>), NoContainer> {
    let absent = |why: String| NoContainer::Absent(why);
    let failed = |why: String| NoContainer::Failed(why);
    let engine = async {
        let engine = docker_client_instance().await.map_err(|error| error.to_string())?;
        engine.ping().await.map_err(|error| error.to_string())?;
        Ok::<_, String>(engine)
    };
    let engine = match tokio::time::timeout(ENGINE, engine).await {
        Ok(Ok(engine)) => engine,
        Ok(Err(why)) => return Err(absent(format!("no engine answers: {why}"))),
        Err(_) => return Err(absent(format!("no engine answers within {ENGINE:?}"))),
    };
    if !pull && let Err(error) = engine.inspect_image(image).await {
        return Err(absent(format!("the engine has not got the image {image}: {error}")));
    }
    // A colon before the last slash belongs to a registry's port.
    let (name, tag) =
        image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((image, "latest"));
    let request = GenericImage::new(name, tag)
        .with_exposed_port(REDIS.tcp())
        .with_wait_for(WaitFor::Nothing)
        .with_startup_timeout(START)
        .with_host_config_modifier(|host| {
            // Any free port, of this address only.
            let local = PortBinding {
                host_ip: Some(Ipv4Addr::LOCALHOST.to_string()),
                host_port: Some(String::new()),
            };
            host.publish_all_ports = Some(false);
            host.port_bindings = Some([(format!("{REDIS}/tcp"), Some(vec![local]))].into());
        });
    let container =
        request.start().await.map_err(|error| failed(format!("{image} was not started: {error}")))?;
    let port = container.get_host_port_ipv4(REDIS.tcp()).await;
    let port = port.map_err(|error| failed(format!("{image} has no mapped port: {error}")))?;
    let mut addrs = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
    if let Ok(host) = container.get_host().await {
        addrs.extend(tokio::net::lookup_host((host.to_string(), port)).await.into_iter().flatten());
    }
    Ok((container, addrs))
}
