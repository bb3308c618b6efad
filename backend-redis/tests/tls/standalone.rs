//! One server.

use std::time::Duration;

use stanchion::ErrorKind;
use stanchion::key::Key;
use stanchion::stores::Stores;
use stanchion_conformance::servers::{RedisProcess, until};
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::certificates::{Folder, Root};
use crate::shared::{TIMEOUT, all_serve, refused, standalone, with_password};

pub(crate) async fn every_connection_is_made_with_the_same_certificates() {
    let root = Root::new("ours");
    let folder = Folder::here(&root);
    let server = RedisProcess::start_tls(&folder.files, &["--requirepass", "sesame"]).await.unwrap();
    let url = with_password(&server.tls_url(), "sesame");
    let config = standalone(&url).root_certificate(root.pem()).unwrap();
    assert!(!format!("{config:?}").contains("sesame") && !format!("{config:?}").contains("BEGIN"));
    all_serve(config, async || server.restart().await.unwrap()).await;
    // By its name as well, and by one of several roots.
    let url = url.replace("127.0.0.1", "localhost");
    let roots = [Root::new("theirs").pem(), root.pem()].concat();
    let config = standalone(&url).root_certificate(roots).unwrap();
    all_serve(config, async || server.restart().await.unwrap()).await;
}

pub(crate) async fn a_wrong_root_is_refused() {
    let root = Root::new("ours");
    let folder = Folder::here(&root);
    let server = RedisProcess::start_tls(&folder.files, &["--requirepass", "sesame"]).await.unwrap();
    let config = || standalone(&with_password(&server.tls_url(), "sesame"));
    let stranger = config().root_certificate(Root::new("theirs").pem()).unwrap();
    refused(stranger, "the server's certificate was refused").await;
    // Those that browsers trust have not issued it either.
    let error = refused(config(), "the server's certificate was refused").await;
    assert!(error.to_string().contains("`root_certificate`"), "{error}");
}

pub(crate) async fn a_wrong_name_is_refused() {
    let root = Root::new("ours");
    let folder = Folder::of(&root, &["redis.example.org"]);
    let server = RedisProcess::start_tls(&folder.files, &[]).await.unwrap();
    let config = standalone(&server.tls_url()).root_certificate(root.pem()).unwrap();
    let error = refused(config, "the server's certificate was refused").await;
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
}

pub(crate) async fn a_server_that_asks_for_a_certificate_gets_it() {
    let root = Root::new("ours");
    let folder = Folder::here(&root);
    let files = folder.files.clone().asking_clients();
    let server = RedisProcess::start_tls(&files, &["--requirepass", "sesame"]).await.unwrap();
    let url = with_password(&server.tls_url(), "sesame");
    let config = || standalone(&url).root_certificate(root.pem()).unwrap();
    refused(config(), "`client_certificate`").await;
    let stranger = Root::new("theirs").issue(&["client"]);
    refused(config().client_certificate(stranger.pem, stranger.key).unwrap(), "refused the TLS handshake")
        .await;
    let client = root.issue(&["client"]);
    let config = config().client_certificate(client.pem, client.key).unwrap();
    assert!(!format!("{config:?}").contains("BEGIN"));
    all_serve(config, async || server.restart().await.unwrap()).await;
}

/// Server, client and roots change together while the service runs; what was given as text stays as it was.
pub(crate) async fn certificates_in_files_are_read_for_each_connection() {
    let (old, new) = (Root::new("old"), Root::new("new"));
    let folder = Folder::here(&old);
    let files = folder.files.clone().asking_clients();
    let server = RedisProcess::start_tls(&files, &[]).await.unwrap();
    let before = old.issue(&["client"]);
    let [certificate, key] = folder.client(&before);
    let config = || standalone(&server.tls_url()).root_certificate_file(&files.root).unwrap();
    let fixed = config().client_certificate(before.pem, before.key).unwrap();
    let fixed = RedisBackend::connect(fixed).await.unwrap().stores();
    let by_files = config().client_certificate_files(&certificate, &key).unwrap();
    let by_files = RedisBackend::connect(by_files).await.unwrap().stores();

    folder.issue_anew(&new, &["127.0.0.1", "localhost"]);
    folder.client(&new.issue(&["client"]));
    server.restart().await.unwrap();
    becomes_usable(&by_files).await;
    let error = until("the old certificate is refused", TIMEOUT, || async {
        match read(&fixed).await {
            Err(error) if error.kind() == ErrorKind::Config => Ok(error),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(error.await.unwrap().to_string().contains("`client_certificate`"));
    // A file that is missing is said, and waited for.
    let key_now = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    server.restart().await.unwrap();
    let error = until("the missing file is said", TIMEOUT, || async {
        match read(&by_files).await {
            Err(error) if error.kind() == ErrorKind::Config => Ok(error),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(error.await.unwrap().to_string().contains("client-key.pem"));
    std::fs::write(&key, key_now).unwrap();
    becomes_usable(&by_files).await;
}

async fn read(stores: &Stores) -> Result<Option<bytes::Bytes>, stanchion::Error> {
    stores.cache_store()?.get(&Key::new("cache", "n", "a")?).await
}

async fn becomes_usable(stores: &Stores) {
    until("it is connected", TIMEOUT, || read(stores)).await.unwrap();
}

pub(crate) async fn tls_and_none_do_not_meet() {
    let root = Root::new("ours");
    let folder = Folder::here(&root);
    let server = RedisProcess::start_tls(&folder.files, &["--requirepass", "sesame"]).await.unwrap();
    let root = root.pem();
    let tls = |url: &str| RedisConfig::standalone(url).unwrap().root_certificate(root.clone()).unwrap();
    let plain = |url: &str| RedisConfig::standalone(url).unwrap();
    let to_plain = tls(&with_password(&server.url().replace("redis://", "rediss://"), "sesame"));
    let to_tls = plain(&with_password(&server.tls_url().replace("rediss://", "redis://"), "sesame"));
    for config in [to_plain, to_tls] {
        // Each waits for the other to say something.
        let config = config.connect_attempts(1).deadline(Duration::from_millis(200));
        let Err(error) = RedisBackend::connect(config).await else { panic!("it connected") };
        assert!(error.kind().is_transient(), "{error}");
        assert!(!format!("{error} {error:?}").contains("sesame"), "{error:?}");
    }
}

pub(crate) async fn bad_certificates_are_refused_where_they_are_set() {
    let (root, other) = (Root::new("ours"), Root::new("theirs"));
    let (client, stranger) = (root.issue(&["client"]), other.issue(&["client"]));
    let config = || RedisConfig::standalone("rediss://localhost").unwrap();
    let plain = || RedisConfig::standalone("redis://localhost").unwrap();
    let mixed = || RedisConfig::cluster(["rediss://localhost", "redis://localhost"]).unwrap();
    let half = |pem: &str| pem[..pem.len() / 2].to_owned();
    for (what, outcome) in [
        ("nothing", config().root_certificate("")),
        ("no PEM", config().root_certificate("sesame")),
        ("half of it", config().root_certificate(half(&root.pem()))),
        ("a key", config().root_certificate(client.key.clone())),
        ("a root without TLS", plain().root_certificate(root.pem())),
        ("a root for one of two", mixed().root_certificate(root.pem())),
        ("no certificate", config().client_certificate("", client.key.clone())),
        ("no key", config().client_certificate(client.pem.clone(), "sesame")),
        ("half a key", config().client_certificate(client.pem.clone(), half(&client.key))),
        ("the key of another", config().client_certificate(client.pem.clone(), stranger.key.clone())),
        ("a client without TLS", plain().client_certificate(client.pem.clone(), client.key.clone())),
    ] {
        let Err(error) = outcome else { panic!("{what} is taken") };
        assert_eq!(error.kind(), ErrorKind::Config, "{what}: {error}");
        let message = format!("{error} {error:?} {error:#?}");
        assert!(!message.contains("sesame") && !message.contains(&client.key[40..80]), "{what}: {message}");
    }
    // One does not take the other back.
    let both = config().client_certificate(client.pem, client.key).unwrap().root_certificate(root.pem());
    assert!(both.is_ok());
}
