//! Reads: each has its own value, in whichever form it is sent.

use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::duplex;

use super::*;
use crate::connect::connection::gathering::{MGET_MAX, MGET_MIN};

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
