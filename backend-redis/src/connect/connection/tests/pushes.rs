//! Messages that a server pushes.

use redis::PushInfo;
use tokio::io::duplex;

use super::*;

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
