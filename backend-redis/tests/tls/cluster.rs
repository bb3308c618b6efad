//! A Cluster, of whose nodes all but the first are discovered.

use stanchion_conformance::servers::{Cluster, RedisProcess};
use stanchion_redis::RedisConfig;

use crate::certificates::{Folder, Root};
use crate::shared::{all_serve, refused, with_long_deadlines};

pub(crate) async fn every_connection_is_made_with_the_same_certificates() {
    let root = Root::new("ours");
    let folder = Folder::here(&root);
    let cluster = Cluster::start_tls(&folder.files).await.unwrap();
    // All of them want it; the first is the only one whose URL is given.
    for node in cluster.nodes() {
        let reply = node.command(&["CONFIG", "SET", "tls-auth-clients", "yes"]).await.unwrap();
        assert!(!reply.is_error(), "{}", reply.text());
    }
    let client = root.issue(&["client"]);
    let config = RedisConfig::cluster([cluster.nodes()[0].tls_url().as_str()]).unwrap();
    let config = config.root_certificate(root.pem()).unwrap();
    let config = with_long_deadlines(config.client_certificate(client.pem, client.key).unwrap());
    let break_them = async || {
        for node in cluster.nodes() {
            // Of the library's connections only; the case's own is the one that sends this.
            for kind in ["normal", "pubsub"] {
                let reply = node.command(&["CLIENT", "KILL", "TYPE", kind]).await.unwrap();
                assert!(!reply.is_error(), "{}", reply.text());
            }
        }
    };
    all_serve(config, break_them).await;
    // A URL alone will do, where the root is one that everybody trusts; this one is not.
    let url = cluster.nodes()[0].tls_url().replace("rediss://", "rediss+cluster://");
    let Err(error) = stanchion_redis::RedisBackend::connect(url).await else { panic!("it connected") };
    assert!(error.to_string().contains("the server's certificate was refused"), "{error}");
}

pub(crate) async fn a_wrong_root_is_refused() {
    let root = Root::new("ours");
    let folder = Folder::here(&root);
    // It is no Cluster, which nobody gets to know.
    let server = RedisProcess::start_tls(&folder.files, &["--requirepass", "sesame"]).await.unwrap();
    let url = crate::shared::with_password(&server.tls_url(), "sesame");
    let config = with_long_deadlines(RedisConfig::cluster([url.as_str()]).unwrap());
    refused(
        config.root_certificate(Root::new("theirs").pem()).unwrap(),
        "the server's certificate was refused",
    )
    .await;
}
