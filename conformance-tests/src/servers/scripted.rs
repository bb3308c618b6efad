//! A server that is none: it answers what a test tells it to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::ServerError;
use super::resp;
use super::traffic::{Traffic, asks, take_requests};

/// Answers what a client says to find its feet (HELLO, AUTH, CLIENT, PING, CLUSTER, the layout record, …) as a
/// Redis 7.0 would, and everything else with one reply: so that every error a server can give meets its
/// mapping, without a server being brought to give it.
///
/// It runs on the runtime that it was started on, and ends when it is dropped.
#[derive(Debug)]
pub struct Scripted {
    addr: SocketAddr,
    script: Arc<Mutex<Script>>,
    acceptor: JoinHandle<()>,
}

#[derive(Debug)]
struct Script {
    addr: SocketAddr,
    special: Vec<(String, Vec<u8>)>,
    reply: Vec<u8>,
    traffic: Traffic,
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scripted {
    /// A server that answers with these bytes, a whole reply such as `b"-LOADING wait\r\n"`.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn answering(reply: &[u8]) -> Result<Self, ServerError> {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = bound.map_err(ServerError::of("a scripted server has no port"))?;
        let addr = listener.local_addr().map_err(ServerError::of("a scripted server has no address"))?;
        let script = Script { addr, special: Vec::new(), reply: reply.to_vec(), traffic: Traffic::default() };
        let script = Arc::new(Mutex::new(script));
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&script)));
        Ok(Self { addr, script, acceptor })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `redis://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Answers with these bytes from now on.
    pub fn set_reply(&self, reply: &[u8]) {
        lock(&self.script).reply = reply.to_vec();
    }

    /// Answers requests that contain this text with these bytes, before anything else is looked at: `"HELLO"`
    /// with `b"-NOAUTH …\r\n"`. The latest word on a text counts; empty bytes mean no answer at all.
    pub fn answer(&self, needle: &str, reply: &[u8]) {
        lock(&self.script).special.insert(0, (needle.to_owned(), reply.to_vec()));
    }

    /// Answers requests that contain this text as if [`answer`](Self::answer) had never been told of it.
    pub fn forget(&self, needle: &str) {
        lock(&self.script).special.retain(|(known, _)| known != needle);
    }

    /// How many requests contained this text; upper and lower case are the same.
    pub fn requests(&self, needle: &str) -> usize {
        lock(&self.script).traffic.count(needle)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, script: Arc<Mutex<Script>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                connections.spawn(serve(client, Arc::clone(&script)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut client: TcpStream, script: Arc<Mutex<Script>>) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while client.read_buf(&mut buffer).await? > 0 {
        let mut replies = Vec::new();
        for words in take_requests(&mut buffer) {
            replies.extend(lock(&script).answer(&words));
        }
        client.write_all(&replies).await?;
    }
    Ok(())
}

impl Script {
    fn answer(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        self.traffic.next_read();
        self.traffic.record(words);
        if let Some((_, reply)) = self.special.iter().find(|(needle, _)| asks(words, needle)) {
            return reply.clone();
        }
        self.usual(words).unwrap_or_else(|| self.reply.clone())
    }

    /// What a client says before it says anything of a service.
    fn usual(&self, words: &[Vec<u8>]) -> Option<Vec<u8>> {
        let word = |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase());
        Some(match word(0)?.as_str() {
            "HELLO" => self.hello(word(1).as_deref()),
            "AUTH" | "SELECT" | "READONLY" | "ASKING" | "CLIENT" => b"+OK\r\n".to_vec(),
            "PING" => b"+PONG\r\n".to_vec(),
            "INFO" => {
                bulk(&format!("# Server\r\nredis_version:7.0.0\r\nrun_id:{:040}\r\n", self.addr.port()))
            }
            "COMMAND" => b"*0\r\n".to_vec(),
            "CLUSTER" => self.cluster(word(1).as_deref()),
            "EVAL" | "EVALSHA" if asks(words, "stanchion:meta") => layout(words),
            _ => return None,
        })
    }

    fn hello(&self, protocol: Option<&str>) -> Vec<u8> {
        let head = if protocol == Some("3") { "%6\r\n" } else { "*12\r\n" };
        let proto = protocol.unwrap_or("2");
        let mut reply = head.as_bytes().to_vec();
        for (field, value) in
            [("server", "redis"), ("version", "7.0.0"), ("mode", "standalone"), ("role", "master")]
        {
            reply.extend(bulk(field));
            reply.extend(bulk(value));
        }
        reply.extend(bulk("proto"));
        reply.extend(format!(":{proto}\r\n").into_bytes());
        reply.extend(bulk("id"));
        reply.extend(format!(":{}\r\n", self.addr.port()).into_bytes());
        reply
    }

    /// A Cluster of one master that has every slot.
    fn cluster(&self, subcommand: Option<&str>) -> Vec<u8> {
        let id = "5".repeat(40);
        let port = self.addr.port();
        match subcommand {
            Some("SLOTS") => {
                let mut reply = b"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n".to_vec();
                reply.extend(bulk("127.0.0.1"));
                reply.extend(format!(":{port}\r\n").into_bytes());
                reply.extend(bulk(&id));
                reply
            }
            Some("INFO") => {
                bulk("cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_known_nodes:1\r\n")
            }
            Some("MYID") => bulk(&id),
            Some("NODES") => {
                let bus = port.wrapping_add(10_000);
                bulk(&format!("{id} 127.0.0.1:{port}@{bus} myself,master - 0 0 1 connected 0-16383\n"))
            }
            _ => b"-ERR unknown subcommand\r\n".to_vec(),
        }
    }
}

/// The script that records a deployment's layout answers what is stored: here, what the caller has.
fn layout(words: &[Vec<u8>]) -> Vec<u8> {
    let keys = words.get(2).and_then(|count| std::str::from_utf8(count).ok()?.parse::<usize>().ok());
    let arguments = words.get(3 + keys.unwrap_or(0)..).unwrap_or_default();
    resp::encode(arguments)
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}
