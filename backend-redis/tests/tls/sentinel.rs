//! A master that sentinels watch over.

use stanchion_conformance::servers::SentinelSetup;
use stanchion_redis::{Credentials, RedisConfig};

use crate::certificates::{Folder, Root};
use crate::shared::{all_serve, refused, with_long_deadlines};

/// By TLS to sentinels and master, with a password each; and by TLS to the master alone, whose address is that of its TLS port.
pub(crate) async fn sentinels_and_master_are_reached_by_it() {
    let root = Root::new("ours");
    let folder = Folder::here(&root);
    let setup = SentinelSetup::new().tls(&folder.files).password("sesame").sentinel_password("open sesame");
    let sentinel = setup.start().await.unwrap();
    let config = |urls: &[String]| {
        let hosts: Vec<_> = urls.iter().map(|url| url.rsplit(['/', '@']).next().unwrap()).collect();
        let url = format!("rediss+sentinel://:sesame@{}/{}", hosts.join(","), sentinel.name());
        let config: RedisConfig = url.parse().unwrap();
        with_long_deadlines(config).sentinel_credentials(Credentials::password("open sesame"))
    };
    let by_tls = || config(&sentinel.urls());
    refused(
        by_tls().root_certificate(Root::new("theirs").pem()).unwrap(),
        "the server's certificate was refused",
    )
    .await;
    let failover = async || assert!(sentinel.failover().await.is_ok());
    all_serve(by_tls().root_certificate(root.pem()).unwrap(), failover).await;

    let plain: Vec<_> = sentinel.sentinels().iter().map(|one| one.addr().to_string()).collect();
    let failover = async || assert!(sentinel.failover().await.is_ok());
    // Those that a sentinel names are its TLS ports: the ones of the settings are enough.
    all_serve(config(&plain).sentinel_tls(false).root_certificate(root.pem()).unwrap(), failover).await;
}
