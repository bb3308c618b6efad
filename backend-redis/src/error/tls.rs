//! TLS handshakes that fail until somebody has set something else.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use redis::RedisError;
use stanchion::{Error, ErrorKind};

use super::access::Access;

/// The error of a handshake that can't succeed until an operator has mended the settings; `None` for any other failure.
pub(super) fn refused_handshake(error: &RedisError, access: Access) -> Option<Error> {
    // The client keeps it in an `Arc`, which is the source.
    let source = error.source()?.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    let io = source.downcast_ref::<io::Error>()?;
    let (what, effect) = match io.get_ref()?.downcast_ref::<rustls::Error>()? {
        // Before anything was sent.
        why @ rustls::Error::InvalidCertificate(_) => (
            format!("the server's certificate was refused ({why}): its root is set by `root_certificate`"),
            Access::Read.unanswered(),
        ),
        why @ rustls::Error::AlertReceived(_) => (
            format!(
                "the server refused the TLS handshake ({why}): it may want a certificate (`client_certificate`)"
            ),
            access.unanswered(),
        ),
        _ => return None,
    };
    Some(Error::new(ErrorKind::Config, what).with_effect(effect).with_source(error.clone()))
}
