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
use crate::connect::connection::outgoing::Outgoing;
use crate::connect::connection::records::Records;

/// So large are records at most where they are small: one write is several of them, as it is of large ones where TLS has kept
/// some of the writes before back.
const SMALL_RECORD: usize = 100;

struct Configs {
    client: Arc<ClientConfig>,
    with_small_records: Arc<ClientConfig>,
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
    let mut with_small_records = client.clone();
    with_small_records.max_fragment_size = Some(SMALL_RECORD);
    Configs {
        client: Arc::new(client),
        with_small_records: Arc::new(with_small_records),
        server: Arc::new(server),
    }
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
pub(super) fn connect(wire: &Wire, small_records: bool) -> (Box<dyn Stream>, Session) {
    let mut session = Session(ServerConnection::new(Arc::clone(&CONFIGS.server)).unwrap());
    let client = if small_records { &CONFIGS.with_small_records } else { &CONFIGS.client };
    let connector = TlsConnector::from(Arc::clone(client));
    let mut connecting = pin!(connector.connect(ServerName::try_from("localhost").unwrap(), wire.clone()));
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        let polled = connecting.as_mut().poll(&mut cx);
        assert_eq!(session.decrypt(&wire.receive(usize::MAX)).unwrap(), b"");
        assert!(wire.send(&session.encrypt(b"").unwrap()));
        if let Poll::Ready(stream) = polled {
            return (Box::new(Records::new(stream.unwrap())), session);
        }
    }
}

/// What the driver counts as written is all of which something may have left, also where TLS sends one write as two records: its
/// memory was nearly full.
#[test]
fn a_write_of_several_records_that_fails_has_left_in_part() {
    let mut in_part = false;
    for fails_after in (56_000..72_000).step_by(4_000) {
        let (wire, mut outgoing) = (Wire::default(), Outgoing::default());
        let (mut stream, mut session) = connect(&wire, false);
        let mut cx = Context::from_waker(Waker::noop());
        outgoing.packed(&vec![b'x'; 200_000]);
        // It takes more than it can send, and has room for less than a record then.
        for room in [0, 10_000] {
            wire.flow(room, usize::MAX, usize::MAX);
            assert!(outgoing.write(&mut stream, &mut cx).is_pending());
        }
        let mut left = session.decrypt(&wire.receive(usize::MAX)).unwrap().len();
        let before = outgoing.written();
        wire.flow(usize::MAX, usize::MAX, usize::MAX);
        wire.fail_after(fails_after);
        assert!(matches!(outgoing.write(&mut stream, &mut cx), Poll::Ready(Err(_))));
        left += session.decrypt(&wire.receive(usize::MAX)).unwrap().len();
        assert!(left as u64 <= outgoing.written(), "{left} bytes have left of {}", outgoing.written());
        in_part |= before < left as u64 && (left as u64) < outgoing.written();
    }
    assert!(in_part, "no record of a write that failed has left");
}
