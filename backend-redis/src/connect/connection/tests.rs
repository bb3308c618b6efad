//! The driver on scripted streams: what is written together, which reply goes to which request, and what remains of both when
//! the connection ends.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc as threads};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use proptest::prelude::*;
use redis::{PushInfo, Value};
use stanchion::ErrorKind;
use stanchion::clock::{Clock, ManualClock, SystemClock};
use stanchion::environment::Environment;
use stanchion::key::Key;
use stanchion::time::{Monotonic, Timestamp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::runtime::{Builder, Runtime};

use super::backlog::MAX_BACKLOG;
use super::driver::{MAX_READS_IN_FLIGHT, MAX_UNWRITTEN};
use super::events::ConnectionEvents;
use super::gathering::{MGET_MAX, MGET_MIN};
use super::handle::Connection;
use crate::config::RedisConfig;
use crate::connect::context::Context as Shared;
use crate::connect::purpose::Purpose;
use crate::error::Access;

const CALLERS: usize = 64;
/// For what comes at once unless something is wrong.
const LONG_WAIT: Duration = Duration::from_secs(10);
const REPLY: &[u8] = b"$5\r\nvalue\r\n";
/// Longer than others may run between two polls of the task.
const LATE: Duration = Duration::from_millis(1);

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

/// A connection on such a stream.
fn connect_by(
    stream: DuplexStream,
    clock: Arc<dyn Clock>,
    events: Option<Arc<dyn ConnectionEvents>>,
) -> (Connection, Writes) {
    let writes = Writes::default();
    let config = RedisConfig::standalone("redis://localhost").unwrap();
    let context = Shared::new(&config, Environment::system().clock(clock));
    (Connection::on(Counted(stream, Arc::clone(&writes)), events, Purpose::Commands, &context), writes)
}

fn connect(stream: DuplexStream) -> (Connection, Writes) {
    connect_by(stream, Arc::new(ManualClock::new()), None)
}

/// Replies to so many rounds of so many requests, each round at once, and hangs up.
async fn serve(mut stream: DuplexStream, rounds: usize, times: usize) {
    for _ in 0..rounds {
        let mut read = Vec::new();
        while requests(&read) < times {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0);
        }
        stream.write_all(&REPLY.repeat(times)).await.unwrap();
    }
}

/// One request; whether it had its reply.
async fn request(connection: &Connection) -> bool {
    let mut command = redis::cmd("GET");
    command.arg("key");
    match connection.command(&command, Access::Read).await {
        Ok(value) => {
            assert_eq!(value, Value::BulkString(b"value".to_vec()));
            true
        }
        Err(_) => false,
    }
}

/// Each caller sends so many requests, one after the other; how many had their reply.
async fn request_all(connection: &Connection, callers: usize, rounds: usize) -> Vec<usize> {
    let requesting = (0..callers).map(|_| {
        let connection = connection.clone();
        tokio::spawn(async move {
            for round in 0..rounds {
                if !request(&connection).await {
                    return round;
                }
            }
            rounds
        })
    });
    join_all(requesting).await.into_iter().map(Result::unwrap).collect()
}

#[test]
fn requests_that_follow_a_share_are_written_together() {
    const ROUNDS: usize = 4;
    one_thread().block_on(async {
        let (ours, its) = duplex(64 * 1_024);
        let (connection, writes) = connect(ours);
        let server = tokio::spawn(serve(its, ROUNDS, CALLERS));
        assert_eq!(request_all(&connection, CALLERS, ROUNDS).await, [ROUNDS; CALLERS]);
        server.await.unwrap();
        let writes = writes.lock().unwrap();
        // Of 61 that are waited for a sixteenth are three; behind the last ones nothing is left to be delivered.
        let round = [vec![3; 21], vec![1]].concat();
        assert_eq!(*writes, [vec![CALLERS], round.repeat(ROUNDS - 1)].concat());
    });
}

#[test]
fn replies_that_have_come_are_delivered_although_the_server_has_gone_and_the_next_write_fails() {
    one_thread().block_on(async {
        let (ours, its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        let server = tokio::spawn(serve(its, 1, CALLERS));
        assert_eq!(request_all(&connection, CALLERS, 2).await, [1; CALLERS]);
        server.await.unwrap();
    });
}

#[test]
fn a_caller_that_does_not_let_go_of_its_thread_holds_up_nobody_else() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (ours, its) = duplex(64 * 1_024);
    let (connection, _writes) = runtime.block_on(async { connect(ours) });
    drop(runtime.spawn(serve(its, 1, CALLERS)));
    let (replied, others) = threads::channel();
    let first = Arc::new(Mutex::new(Some(others)));
    let (done, all) = threads::channel();
    for _ in 0..CALLERS {
        let (connection, replied, done, first) =
            (connection.clone(), replied.clone(), done.clone(), Arc::clone(&first));
        drop(runtime.spawn(async move {
            let answered = request(&connection).await;
            let others = first.lock().unwrap().take();
            let held_up = match others {
                None => replied.send(()).is_err(),
                // One of its two threads is taken until all others are answered.
                Some(others) => (1..CALLERS).any(|_| others.recv_timeout(LONG_WAIT).is_err()),
            };
            done.send(answered && !held_up).unwrap();
        }));
    }
    assert!((0..CALLERS).all(|_| all.recv_timeout(2 * LONG_WAIT).unwrap()));
    runtime.shutdown_background();
}

/// Counts how often it is read, which is once whenever the task yields.
#[derive(Debug, Default)]
struct Watched(AtomicUsize);

#[async_trait::async_trait]
impl Clock for Watched {
    fn now(&self) -> Monotonic {
        let _ = self.0.fetch_add(1, Ordering::Relaxed);
        SystemClock.now()
    }

    fn wall(&self) -> Timestamp {
        SystemClock.wall()
    }

    async fn sleep_until(&self, deadline: Monotonic) {
        SystemClock.sleep_until(deadline).await;
    }
}

#[test]
fn a_lone_reply_is_delivered_at_once() {
    one_thread().block_on(async {
        let (ours, its) = duplex(64 * 1_024);
        let clock = Arc::new(Watched::default());
        let (connection, writes) = connect_by(ours, Arc::clone(&clock) as Arc<dyn Clock>, None);
        drop(tokio::spawn(serve(its, 50, 1)));
        assert_eq!(request_all(&connection, 1, 50).await, [50]);
        assert_eq!(*writes.lock().unwrap(), [1; 50]);
        assert_eq!(clock.0.load(Ordering::Relaxed), 0, "the task has yielded");
    });
}

/// A task that is always ready, and takes its time.
async fn busy(clock: Arc<ManualClock>) {
    poll_fn::<(), _>(|cx| {
        clock.advance(LATE);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn where_the_task_runs_late_all_is_delivered() {
    const ROUNDS: usize = 16;
    one_thread().block_on(async {
        let (ours, its) = duplex(64 * 1_024);
        let clock = Arc::new(ManualClock::new());
        let (connection, writes) = connect_by(ours, Arc::clone(&clock) as Arc<dyn Clock>, None);
        drop(tokio::spawn(serve(its, ROUNDS, CALLERS)));
        drop(tokio::spawn(busy(clock)));
        assert_eq!(request_all(&connection, CALLERS, ROUNDS).await, [ROUNDS; CALLERS]);
        let writes = writes.lock().unwrap();
        assert_eq!(writes.iter().filter(|requests| **requests == 3).count(), 1, "{writes:?}");
    });
}

/// Reads what is written to the server, until so many keys are in it.
async fn read_requests(stream: &mut DuplexStream, keys: usize) {
    let mut read = Vec::new();
    while read.windows(5).filter(|window| window == b":key-").count() < keys {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
}

/// The letter of which the value of the key at this place in a reply consists.
fn letter(at: usize) -> char {
    char::from(b'!' + u8::try_from(at % 90).unwrap())
}

/// The replies to reads of values of these sizes that are sent at once.
fn replies_of(sizes: &[usize]) -> Vec<u8> {
    let mut replies = Vec::new();
    for chunk in sizes.chunks(MGET_MAX) {
        if sizes.len() >= MGET_MIN {
            replies.extend(format!("*{}\r\n", chunk.len()).into_bytes());
        }
        for (at, size) in chunk.iter().enumerate() {
            replies.extend(
                [format!("${size}\r\n"), letter(at).to_string().repeat(*size), "\r\n".to_owned()]
                    .concat()
                    .into_bytes(),
            );
        }
    }
    replies
}

fn key(n: usize) -> Key {
    Key::new("cache", "user", format!("key-{n}")).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn each_read_has_its_own_value_in_whatever_pieces_it_comes(
        sizes in prop::collection::vec(prop_oneof![4 => 0..5_000_usize, 1 => 8_000..150_000_usize], 1..140),
        pieces in prop::collection::vec(1..20_000_usize, 1..10),
    ) {
        let answers = one_thread().block_on(async {
            let (ours, mut its) = duplex(30_000);
            let (connection, _writes) = connect(ours);
            let (replies, count) = (replies_of(&sizes), sizes.len());
            let server = tokio::spawn(async move {
                read_requests(&mut its, count).await;
                let mut left = &replies[..];
                for length in pieces.iter().cycle() {
                    let (piece, rest) = left.split_at((*length).min(left.len()));
                    its.write_all(piece).await.unwrap();
                    left = rest;
                    if left.is_empty() {
                        break;
                    }
                }
                its
            });
            let keys: Vec<_> = (0..count).map(key).collect();
            let answers = join_all(keys.iter().map(|key| connection.get(key, LONG_WAIT))).await;
            drop(server.await.unwrap());
            answers
        });
        for (at, (answer, size)) in answers.into_iter().zip(sizes).enumerate() {
            let answer = answer.unwrap().unwrap();
            prop_assert!(answer.len() == size && answer.iter().all(|byte| *byte == letter(at % MGET_MAX) as u8));
        }
    }
}

/// Reads so many keys at once, from a server that answers this; then closes it.
fn read_many(count: usize, replies: &'static [u8]) -> Vec<stanchion::Result<Option<Bytes>>> {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        let server = tokio::spawn(async move {
            read_requests(&mut its, count).await;
            its.write_all(replies).await.unwrap();
        });
        let keys: Vec<_> = (0..count).map(key).collect();
        let answers = join_all(keys.iter().map(|key| connection.get(key, LONG_WAIT))).await;
        server.await.unwrap();
        answers
    })
}

#[test]
fn an_array_of_another_length_is_nobodys_value() {
    for replies in [
        &b"*7\r\n$1\r\na\r\n$1\r\nb\r\n"[..],
        b"*7\r\n_\r\n_\r\n_\r\n_\r\n_\r\n_\r\n_\r\n",
        b"+OK\r\n",
        b"*-1\r\n",
        b"%1\r\n:1\r\n:1\r\n",
    ] {
        for answer in read_many(MGET_MIN, replies) {
            let kinds = [ErrorKind::Internal, ErrorKind::Unavailable];
            assert!(answer.is_err_and(|error| kinds.contains(&error.kind())), "{replies:?}");
        }
    }
}

#[test]
fn half_an_array_is_a_reply_to_half_of_the_reads() {
    let answers = read_many(MGET_MIN, b"*8\r\n$1\r\na\r\n$1\r\nb\r\n$5\r\nabc");
    let (answered, failed) = answers.split_at(2);
    let answered: Vec<_> = answered.iter().map(|answer| answer.as_ref().unwrap().as_deref()).collect();
    assert_eq!(answered, [Some(&b"a"[..]), Some(b"b")]);
    assert!(failed.iter().all(|answer| answer.as_ref().unwrap_err().kind() == ErrorKind::Unavailable));
}

#[test]
fn what_is_not_found_is_read_again_by_get() {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        let server = tokio::spawn(async move {
            read_requests(&mut its, MGET_MIN).await;
            its.write_all([&b"*8\r\n"[..], &b"$1\r\na\r\n".repeat(6), b"_\r\n$-1\r\n"].concat().as_slice())
                .await
                .unwrap();
            read_requests(&mut its, 2).await;
            its.write_all(b"_\r\n-WRONGTYPE a list\r\n").await.unwrap();
            its
        });
        let keys: Vec<_> = (0..MGET_MIN).map(key).collect();
        let mut answers = join_all(keys.iter().map(|key| connection.get(key, LONG_WAIT))).await;
        assert_eq!(answers.pop().unwrap().unwrap_err().kind(), ErrorKind::Codec);
        assert_eq!(answers.pop().unwrap().unwrap(), None);
        assert!(answers.into_iter().all(|answer| answer.unwrap().unwrap() == "a"));
        drop(server.await.unwrap());
    });
}

#[test]
fn more_than_may_be_in_flight_all_have_replies() {
    one_thread().block_on(async {
        let (ours, its) = duplex(1024 * 1_024);
        let clock = Arc::new(ManualClock::new());
        let (connection, _writes) = connect_by(ours, Arc::clone(&clock) as Arc<dyn Clock>, None);
        drop(tokio::spawn(busy(clock)));
        let mut its = its;
        let (first, left) = (MAX_READS_IN_FLIGHT, 10);
        let server = tokio::spawn(async move {
            // The task runs late from here on.
            let mut read = Vec::new();
            while requests(&read) < CALLERS {
                assert!(its.read_buf(&mut read).await.unwrap() > 0);
            }
            its.write_all(&REPLY.repeat(CALLERS)).await.unwrap();
            for keys in [first, left] {
                read_requests(&mut its, keys).await;
                let mut replies = Vec::new();
                for chunk in vec![0; keys].chunks(MGET_MAX) {
                    replies.extend(format!("*{}\r\n", chunk.len()).into_bytes());
                    replies.extend(b"$1\r\na\r\n".repeat(chunk.len()));
                }
                its.write_all(&replies).await.unwrap();
            }
            its
        });
        assert_eq!(request_all(&connection, CALLERS, 1).await, [1; CALLERS]);
        let keys: Vec<_> = (0..first + left).map(key).collect();
        let answers = join_all(keys.iter().map(|key| connection.get(key, LONG_WAIT))).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap().unwrap() == "a"));
        drop(server.await.unwrap());
    });
}

#[test]
fn a_request_behind_a_close_is_never_sent() {
    one_thread().block_on(async {
        let (ours, _its) = duplex(64);
        let (connection, _writes) = connect(ours);
        connection.close();
        // Both are there before the task is run.
        let error = connection.command(&redis::cmd("TIME"), Access::Write).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Closed, stanchion::Effect::NotApplied));
    });
}

#[test]
fn reads_do_not_wait_for_commands() {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        let (time, key) = (redis::cmd("TIME"), key(0));
        let commands = (0..=MAX_READS_IN_FLIGHT).map(|_| connection.command(&time, Access::Write));
        tokio::select! {
            _ = join_all(commands) => panic!("nobody answers them"),
            answer = connection.get(&key, LONG_WAIT) => panic!("{answer:?}"),
            () = read_requests(&mut its, 1) => {}
        }
    });
}

#[test]
fn requests_beyond_the_backlog_are_refused_and_not_sent() {
    const MANY_MORE: usize = MAX_BACKLOG + MAX_READS_IN_FLIGHT + 1;
    one_thread().block_on(async {
        // Nobody reads at the other end.
        let (ours, _its) = duplex(64);
        let (connection, _writes) = connect(ours);
        let key = key(0);
        let mut reads: FuturesUnordered<_> =
            (0..MANY_MORE).map(|_| connection.get(&key, LONG_WAIT)).collect();
        let refused = reads.next().await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Throttled);

        let mut large = redis::cmd("SET");
        large.arg("key").arg(vec![b'x'; MAX_UNWRITTEN]);
        let small = redis::cmd("TIME");
        let commands = std::iter::once(&large).chain(std::iter::repeat_n(&small, MANY_MORE));
        let mut written: FuturesUnordered<_> =
            commands.map(|command| connection.command(command, Access::Write)).collect();
        let refused = written.next().await.unwrap().unwrap_err();
        assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Throttled, stanchion::Effect::NotApplied));
        drop(reads);
    });
}

#[test]
fn a_reply_to_no_request_ends_the_connection() {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        let (answered, ()) =
            tokio::join!(request(&connection), async { its.write_all(&REPLY.repeat(2)).await.unwrap() });
        assert!(answered);
        // Otherwise it would be taken for this one's.
        assert!(!request(&connection).await);
    });
}

#[test]
fn what_a_server_sends_before_any_request_is_its_first_reply() {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        its.write_all(b"-ERR max number of clients reached\r\n").await.unwrap();
        drop(its);
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let refused = connection.command(&redis::cmd("HELLO"), Access::Read).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Throttled);
    });
}

/// Keeps what is pushed.
#[derive(Default)]
struct Notes(Mutex<Vec<PushInfo>>);

impl ConnectionEvents for Notes {
    fn pushed(&self, info: PushInfo) {
        self.0.lock().unwrap().push(info);
    }

    fn broken(&self) {}
}

#[test]
fn a_pushed_message_between_replies_is_taken_for_none() {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let notes = Arc::new(Notes::default());
        let (connection, _writes) =
            connect_by(ours, Arc::new(ManualClock::new()), Some(Arc::clone(&notes) as _));
        let server = tokio::spawn(async move {
            read_requests(&mut its, 3).await;
            for reply in
                ["$1\r\na\r\n", ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n", "$1\r\nb\r\n$1\r\nc\r\n"]
            {
                its.write_all(reply.as_bytes()).await.unwrap();
            }
            its
        });
        let keys: Vec<_> = (0..3).map(key).collect();
        let answers = join_all(keys.iter().map(|key| connection.get(key, LONG_WAIT))).await;
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
        assert_eq!(answers, ["a", "b", "c"]);
        assert_eq!(notes.0.lock().unwrap().len(), 1);
        drop(server.await.unwrap());
    });
}

#[test]
fn a_subscription_is_confirmed_for_each_of_its_channels() {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        let client = connection.clone();
        let subscribing =
            tokio::spawn(async move { client.subscribe(&["d", "e"].map(ToOwned::to_owned)).await });
        let _ = its.read_u8().await.unwrap();
        let confirmed = |channel| format!(">3\r\n$9\r\nsubscribe\r\n$1\r\n{channel}\r\n:1\r\n");
        let message = ">3\r\n$7\r\nmessage\r\n$1\r\nd\r\n$1\r\nm\r\n";
        its.write_all([&confirmed("d"), message].concat().as_bytes()).await.unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!subscribing.is_finished());
        its.write_all(confirmed("e").as_bytes()).await.unwrap();
        subscribing.await.unwrap().unwrap();
        let (replied, ()) = tokio::join!(request(&connection), async { its.write_all(REPLY).await.unwrap() });
        assert!(replied);
    });
}

#[test]
fn a_read_that_timed_out_leaves_its_place() {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        let (all, late) = ([key(0), key(1)], Duration::from_millis(5));
        let (first, second, server) = tokio::join!(
            async {
                let answer = connection.get(&all[0], late).await;
                (answer, connection.get(&all[0], late).await)
            },
            connection.get(&all[1], LONG_WAIT),
            async {
                // There is no reply until the first has timed out twice.
                read_requests(&mut its, 3).await;
                tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>())
                    .await
                    .unwrap_err();
                its.write_all(b"$1\r\na\r\n$1\r\nb\r\n$1\r\na\r\n").await.unwrap();
                its
            }
        );
        let kinds = [first.0, first.1].map(|answer| answer.unwrap_err().kind());
        assert_eq!(kinds, [ErrorKind::Timeout; 2]);
        assert_eq!(second.unwrap(), Some(Bytes::from_static(b"b")));
        drop(server);
    });
}

#[test]
fn closing_ends_every_request() {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        let keys: Vec<_> = (0..20).map(key).collect();
        let reads = join_all(keys.iter().map(|key| connection.get(key, LONG_WAIT)));
        let mut write = redis::cmd("SET");
        write.arg("k").arg("v");
        let closing = async {
            read_requests(&mut its, 20).await;
            connection.close();
        };
        let (answers, written, ()) = tokio::join!(reads, connection.command(&write, Access::Write), closing);
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap_err().kind() == ErrorKind::Closed));
        let error = written.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Closed, stanchion::Effect::Unknown));
    });
}
