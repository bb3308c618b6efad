//! Key sets by HTTP, from servers on this machine.

use std::sync::Arc;
use std::time::Duration;

use stanchion::prelude::*;
use stanchion::token::{FetchJwks, HttpJwks, Issuer, Jwks, JwtAlgorithm, MAX_JWKS};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::keys::{ISSUER, claims, pair};
use super::support::manual;

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            break;
        }
        read.push(byte[0]);
    }
    String::from_utf8(read).unwrap()
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, reply: &[u8]) -> String {
    let asked = request(&mut stream).await;
    // A client that has seen enough closes.
    let _ = stream.write_all(reply).await;
    let _ = stream.shutdown().await;
    asked
}

/// Answers one request with this; what was asked.
async fn server(reply: Vec<u8>) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { answer(listener.accept().await.unwrap().0, &reply).await });
    (format!("http://{address}/keys?for=shop"), task)
}

fn reply(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

fn keys() -> String {
    Jwks::of([pair(JwtAlgorithm::EdDSA).verifying("k1")]).to_json()
}

#[tokio::test]
async fn keys_come_by_http_from_this_machine() {
    let (url, asked) = server(reply("200 OK", "", &keys())).await;
    let (backend, _) = manual();
    let issuer = Issuer::jwks(ISSUER, &url).audience("shop");
    let tokens = backend.stores().tokens().accepting(issuer).build().unwrap();
    tokens.verify(&pair(JwtAlgorithm::EdDSA).sign(Some("k1"), &claims())).await.unwrap();
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("GET /keys?for=shop HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("\r\nhost: 127.0.0.1:"), "{asked}");
}

#[tokio::test]
async fn what_is_no_key_set_is_an_error_and_nothing_worse() {
    let long = "x".repeat(MAX_JWKS + 1);
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{long}").into_bytes();
    for (what, reply) in [
        ("not found", reply("404 Not Found", "", "none")),
        ("failing", reply("500 Internal Server Error", "", "")),
        ("elsewhere", reply("302 Found", "location: http://127.0.0.1:1/\r\n", "")),
        ("too long", reply("200 OK", "", &long)),
        ("too long, and not said", endless),
        ("half of it", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec()),
        ("no UTF-8", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xFF\xFE".to_vec()),
        ("no HTTP", b"SSH-2.0-OpenSSH\r\n".to_vec()),
        ("nothing", Vec::new()),
    ] {
        let (url, asked) = server(reply).await;
        let outcome = HttpJwks::new(&url).unwrap().fetch().await;
        assert!(outcome.is_err(), "{what}: {outcome:?}");
        asked.await.unwrap();
    }
    let outcome = HttpJwks::new("http://127.0.0.1:1/").unwrap().fetch().await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_host_that_says_nothing_is_left_after_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let issuer = Issuer::jwks(ISSUER, &url).audience("shop").timeout(Duration::from_millis(50));
    let tokens = stanchion_memory::MemoryBackend::new().stores().tokens().accepting(issuer).build().unwrap();
    let now = stanchion::clock::Clock::wall(&stanchion::clock::SystemClock).as_secs();
    let mut said = claims();
    said["iat"] = now.into();
    said["exp"] = (now + 60).into();
    let outcome = tokens.verify(&pair(JwtAlgorithm::EdDSA).sign(Some("k1"), &said)).await;
    assert!(matches!(outcome, Err(VerifyError::Unchecked(_))), "{outcome:?}");
}

#[tokio::test]
async fn https_is_by_the_roots_that_are_trusted() {
    let authority = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(authority.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![authority.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/keys", listener.local_addr().unwrap().port());
    let body = keys();
    let serving = tokio::spawn(async move {
        for _ in 0..2 {
            let stream = listener.accept().await.unwrap().0;
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, &reply("200 OK", "", &body)).await;
            }
        }
    });
    let untrusted = HttpJwks::new(&url).unwrap();
    assert_eq!(untrusted.fetch().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let trusted = untrusted.roots(authority.cert.pem().as_bytes()).unwrap();
    assert_eq!(trusted.fetch().await.unwrap(), keys());
    serving.await.unwrap();
}
