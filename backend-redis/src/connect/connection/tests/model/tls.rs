//! TLS on the wire, with both ends in this process.

use std::io::{Read, Write};
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::TlsConnector;

use super::super::Stream;
use super::wire::Wire;
use crate::connect::connection::records::Records;

struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

static CONFIGS: LazyLock<Configs> = LazyLock::new(|| {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let provider = Arc::new(default_provider());
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    Configs { client: Arc::new(client), server: Arc::new(server) }
});

/// The server's end.
pub(super) struct Session(ServerConnection);

impl Session {
    /// What was sent by TLS, as far as the records are whole.
    pub(super) fn decrypt(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        while !bytes.is_empty() {
            let _ = self.0.read_tls(&mut bytes).map_err(|why| why.to_string())?;
            let state = self.0.process_new_packets().map_err(|why| why.to_string())?;
            let mut piece = vec![0; state.plaintext_bytes_to_read()];
            self.0.reader().read_exact(&mut piece).map_err(|why| why.to_string())?;
            text.extend(piece);
        }
        Ok(text)
    }

    /// The records for it.
    pub(super) fn encrypt(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut records = Vec::new();
        loop {
            // It holds a bounded amount at a time.
            let written = self.0.writer().write(bytes).map_err(|why| why.to_string())?;
            bytes = &bytes[written..];
            while self.0.wants_write() {
                let _ = self.0.write_tls(&mut records).map_err(|why| why.to_string())?;
            }
            if bytes.is_empty() {
                return Ok(records);
            }
        }
    }
}

/// Both ends, after the handshake.
pub(super) fn connect(wire: &Wire) -> (Box<dyn Stream>, Session) {
    let mut session = Session(ServerConnection::new(Arc::clone(&CONFIGS.server)).unwrap());
    let connector = TlsConnector::from(Arc::clone(&CONFIGS.client));
    let mut connecting = pin!(connector.connect(ServerName::try_from("localhost").unwrap(), wire.clone()));
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        let polled = connecting.as_mut().poll(&mut cx);
        assert_eq!(session.decrypt(&wire.receive(usize::MAX)).unwrap(), b"");
        wire.send(&session.encrypt(b"").unwrap());
        if let Poll::Ready(stream) = polled {
            return (Box::new(Records::new(stream.unwrap())), session);
        }
    }
}
