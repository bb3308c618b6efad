use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, mpsc};

use futures_util::future::join_all;
use proptest::prelude::*;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value};
use stanchion::clock::ManualClock;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};

use super::*;

const CALLERS: usize = 16;
/// For what comes at once unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);
const REPLY: &[u8] = b"$5\r\nvalue\r\n";

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// How many requests were in each write.
type Writes = Arc<Mutex<Vec<usize>>>;

struct Counted(DuplexStream, Writes);

fn requests(bytes: &[u8]) -> usize {
    bytes.windows(3).filter(|window| window == b"GET").count()
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.1.lock().unwrap().push(requests(buf));
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Answers so many rounds of so many requests, each round at once, and goes.
async fn serve_times(mut stream: DuplexStream, rounds: usize, times: usize) {
    for _ in 0..rounds {
        let mut asked = Vec::new();
        while requests(&asked) < times {
            assert!(stream.read_buf(&mut asked).await.unwrap() > 0);
        }
        stream.write_all(&REPLY.repeat(times)).await.unwrap();
    }
}

/// Rounds of one request by each caller.
async fn serve(stream: DuplexStream, rounds: usize) {
    serve_times(stream, rounds, CALLERS).await;
}

/// A client on such a stream, and what was written on it.
async fn connect(stream: DuplexStream, clock: Arc<dyn Clock>) -> (MultiplexedConnection, Writes) {
    let writes = Writes::default();
    let (stream, turn) = Turns::of(Counted(stream, Arc::clone(&writes)));
    let info = redis::RedisConnectionInfo::default().set_skip_set_lib_name();
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let connecting = MultiplexedConnection::new_with_config(&info, stream, config);
    let (client, driver) = connecting.await.unwrap();
    drop(tokio::spawn(turn.taken_by(driver, clock)));
    (client, writes)
}

/// Each caller asks so often, one after the other; how often it was answered.
async fn ask_all(client: &MultiplexedConnection, rounds: usize) -> Vec<usize> {
    let asking = (0..CALLERS).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move {
            for round in 0..rounds {
                match client.send_packed_command(redis::cmd("GET").arg("key")).await {
                    Ok(answer) => assert_eq!(answer, Value::BulkString(b"value".to_vec())),
                    Err(_) => return round,
                }
            }
            rounds
        })
    });
    join_all(asking).await.into_iter().map(Result::unwrap).collect()
}

#[test]
fn what_follows_a_share_is_written_together() {
    const ROUNDS: usize = 4;
    one_thread().block_on(async {
        let (ours, its) = duplex(64 * 1_024);
        let (client, writes) = connect(ours, Arc::new(ManualClock::new())).await;
        let server = tokio::spawn(serve(its, ROUNDS));
        assert_eq!(ask_all(&client, ROUNDS).await, [ROUNDS; CALLERS]);
        server.await.unwrap();
        let writes = writes.lock().unwrap();
        let (first, later) = writes.split_first().unwrap();
        assert_eq!(*first, CALLERS, "nothing was handed out before it");
        assert_eq!(later, vec![SHARE; (ROUNDS - 1) * CALLERS / SHARE]);
    });
}

#[test]
fn what_was_answered_is_told_although_the_server_has_gone_and_the_next_write_fails() {
    one_thread().block_on(async {
        let (ours, its) = duplex(64 * 1_024);
        let (client, _writes) = connect(ours, Arc::new(ManualClock::new())).await;
        let server = tokio::spawn(serve(its, 1));
        assert_eq!(ask_all(&client, 2).await, [1; CALLERS]);
        server.await.unwrap();
    });
}

#[test]
fn a_caller_that_does_not_let_go_of_its_thread_holds_up_nobody_else() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (ours, its) = duplex(64 * 1_024);
    let (client, _writes) = runtime.block_on(connect(ours, Arc::new(ManualClock::new())));
    drop(runtime.spawn(serve(its, 1)));
    let (told, others) = mpsc::channel();
    let first = Arc::new(Mutex::new(Some(others)));
    let (done, all) = mpsc::channel();
    for _ in 0..CALLERS {
        let (mut client, told, done, first) =
            (client.clone(), told.clone(), done.clone(), Arc::clone(&first));
        drop(runtime.spawn(async move {
            let answer = client.send_packed_command(redis::cmd("GET").arg("key")).await;
            let others = first.lock().unwrap().take();
            let held_up = match others {
                None => told.send(()).is_err(),
                // One of its two threads is taken until all others are answered.
                Some(others) => (1..CALLERS).any(|_| others.recv_timeout(PATIENCE).is_err()),
            };
            done.send(answer.is_ok() && !held_up).unwrap();
        }));
    }
    assert!((0..CALLERS).all(|_| all.recv_timeout(2 * PATIENCE).unwrap()));
    runtime.shutdown_background();
}

#[test]
fn lone_replies_wait_for_nobody() {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (mut stream, turn) = Turns::of(ours);
        turn.set(ITS);
        for _ in 0..3 * SHARE {
            its.write_all(REPLY).await.unwrap();
            let mut reply = vec![0; REPLY.len()];
            assert!(futures_util::poll!(pin!(stream.read_exact(&mut reply))).is_ready());
            // As the client does until nothing is there.
            assert!(futures_util::poll!(pin!(stream.read_u8())).is_pending());
            assert!(turn.is(ITS));
        }
    });
}

/// A task that is always ready, and takes its time; counts how often it was run.
async fn busy(clock: Arc<ManualClock>, runs: Arc<AtomicUsize>) {
    std::future::poll_fn::<(), _>(|cx| {
        clock.advance(2 * LATE);
        let _ = runs.fetch_add(1, Ordering::Relaxed);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn where_turns_come_late_all_is_handed_out() {
    one_thread().block_on(async {
        const MANY: usize = 10_000;
        let (ours, its) = duplex(MANY * REPLY.len());
        let (clock, runs) = (Arc::new(ManualClock::new()), Arc::new(AtomicUsize::new(0)));
        let (mut client, _writes) = connect(ours, Arc::clone(&clock) as Arc<dyn Clock>).await;
        drop(tokio::spawn(serve_times(its, 1, MANY)));
        drop(tokio::spawn(busy(clock, Arc::clone(&runs))));
        let mut pipeline = redis::Pipeline::new();
        for _ in 0..MANY {
            let _ = pipeline.cmd("GET").arg("key");
        }
        assert_eq!(client.send_packed_commands(&pipeline, 0, MANY).await.unwrap().len(), MANY);
        let runs = runs.load(Ordering::Relaxed);
        assert!(runs < 100, "others were run {runs} times");
    });
}

#[test]
fn while_turns_come_late_there_are_none() {
    const ROUNDS: usize = 16;
    one_thread().block_on(async {
        let (ours, its) = duplex(64 * 1_024);
        let clock = Arc::new(ManualClock::new());
        let (client, writes) = connect(ours, Arc::clone(&clock) as Arc<dyn Clock>).await;
        drop(tokio::spawn(serve(its, ROUNDS)));
        drop(tokio::spawn(busy(clock, Arc::default())));
        assert_eq!(ask_all(&client, ROUNDS).await, [ROUNDS; CALLERS]);
        let writes = writes.lock().unwrap();
        assert_eq!(writes.iter().filter(|requests| **requests == SHARE).count(), 1, "{writes:?}");
    });
}

/// Strings of these sizes, as a server sends them.
fn replies_of(sizes: &[usize]) -> Vec<u8> {
    sizes
        .iter()
        .flat_map(|size| [format!("${size}\r\n"), "x".repeat(*size), "\r\n".to_owned()].concat().into_bytes())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn all_comes_through_and_then_the_end_in_whatever_pieces_it_comes(
        sizes in prop::collection::vec(prop_oneof![4 => 0..200_usize, 1 => 8_000..150_000_usize], 1..40),
        pieces in prop::collection::vec(1..20_000_usize, 1..10),
        before in 0..100_usize,
        room in 1..20_000_usize,
    ) {
        let text = replies_of(&sizes);
        let came = one_thread().block_on(async {
            let (ours, mut its) = duplex(30_000);
            let (mut stream, turn) = Turns::of(ours);
            let sent = text.clone();
            let server = tokio::spawn(async move {
                let mut left = &sent[..];
                for length in pieces.iter().cycle() {
                    let (piece, rest) = left.split_at((*length).min(left.len()));
                    its.write_all(piece).await.unwrap();
                    left = rest;
                    if left.is_empty() {
                        break;
                    }
                }
            });
            // As a handshake is read, before there is a driver.
            let mut came = vec![0; before.min(text.len())];
            let _ = stream.read_exact(&mut came).await.unwrap();
            let read = Arc::new(Mutex::new(came));
            let reading = Arc::clone(&read);
            turn.taken_by(async move {
                let mut piece = vec![0; room];
                loop {
                    let length = stream.read(&mut piece).await.unwrap();
                    if length == 0 {
                        break;
                    }
                    reading.lock().unwrap().extend_from_slice(&piece[..length]);
                }
            }, Arc::new(ManualClock::new()))
            .await;
            server.await.unwrap();
            let read = read.lock().unwrap();
            read.clone()
        });
        prop_assert!(came == text, "{} of {} bytes", came.len(), text.len());
    }
}
