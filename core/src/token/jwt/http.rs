//! Key sets by HTTP: one request on a connection of its own.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::fetch::{FetchJwks, MAX_JWKS};
use crate::error::{Error, ErrorKind, Result};

/// Fetches a key set by HTTP/1.1: `https`, with Mozilla's roots or [those given](Self::roots); or `http`, on this machine only.
///
/// It follows no redirects, uses no proxy, and sends no credentials. For what needs them, implement [`FetchJwks`].
#[derive(Clone)]
pub struct HttpJwks {
    uri: Uri,
    host: String,
    port: u16,
    /// `None` on this machine.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

fn wrong(what: &str) -> Error {
    Error::invalid(format!("the address of a key set {what}"))
}

impl HttpJwks {
    /// From this address.
    ///
    /// # Errors
    /// `InvalidInput` if it is no URL of `https`, or of `http` on this machine (`localhost` or a loopback address); or has
    /// credentials.
    pub fn new(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().map_err(|_| wrong("is no URL"))?;
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("has credentials: implement FetchJwks"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let (port, tls) = match uri.scheme_str() {
            Some("https") => {
                let name = ServerName::try_from(host.clone()).map_err(|_| wrong("names no host"))?;
                (443, Some((trusting(mozilla())?, name)))
            }
            Some("http") if is_loopback(&host) => (80, None),
            Some("http") => {
                return Err(wrong(
                    "is http and not on this machine: whoever is in between could send any keys",
                ));
            }
            _ => return Err(wrong("is neither https nor http")),
        };
        let port = authority.port_u16().unwrap_or(port);
        Ok(Self { uri, host, port, tls })
    }

    /// Trusts the certificates in this PEM text, and no others.
    ///
    /// # Errors
    /// `InvalidInput` if there are none, or one of them can't be a root.
    pub fn roots(mut self, pem: &[u8]) -> Result<Self> {
        let none =
            || Error::invalid("the roots for a key set can't be read: they have to be certificates in PEM");
        let certificates =
            CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| none())?;
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(certificates).1 > 0 || roots.is_empty() {
            return Err(none());
        }
        if let Some((config, _)) = &mut self.tls {
            *config = trusting(roots)?;
        }
        Ok(self)
    }

    async fn exchange(&self) -> Result<String> {
        let stream =
            TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|e| self.lost("connect", e))?;
        match &self.tls {
            None => {
                // A name can be given any address.
                if !stream.peer_addr().is_ok_and(|address| address.ip().is_loopback()) {
                    return Err(Error::new(
                        ErrorKind::Config,
                        "the host of a key set is not on this machine",
                    ));
                }
                self.over(stream).await
            }
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream =
                    connector.connect(name.clone(), stream).await.map_err(|e| self.lost("handshake", e))?;
                self.over(stream).await
            }
        }
    }

    async fn over(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<String> {
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(100)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.lost("request", e))?;
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(HOST, self.uri.authority().map_or("", |authority| authority.as_str()))
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(USER_AGENT, concat!("stanchion/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|_| wrong("is no URL"))?;
        let answer = async {
            let reply = sender.send_request(request).await.map_err(|e| self.lost("request", e))?;
            match reply.status() {
                StatusCode::OK => {}
                status if status.is_redirection() => {
                    return Err(Error::new(
                        ErrorKind::Config,
                        "the key set is elsewhere, and redirects are not followed",
                    ));
                }
                status => {
                    let message = format!("the host of a key set answered {}", status.as_u16());
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
            }
            let body = Limited::new(reply.into_body(), MAX_JWKS).collect().await.map_err(|_| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("no key set of {MAX_JWKS} bytes or less was received"),
                )
            })?;
            String::from_utf8(body.to_bytes().into()).map_err(|_| Error::invalid("a key set is JSON"))
        };
        // The connection is driven here, so that it ends with this future.
        let (mut answer, mut connection) = (pin!(answer), pin!(connection));
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    }

    fn lost(&self, what: &str, why: impl std::error::Error + Send + Sync + 'static) -> Error {
        let message = format!("the host of a key set, {}, could not be reached ({what})", self.host);
        Error::new(ErrorKind::Unavailable, message).with_source(why)
    }
}

#[async_trait]
impl FetchJwks for HttpJwks {
    async fn fetch(&self) -> Result<String> {
        self.exchange().await
    }
}

impl fmt::Debug for HttpJwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpJwks({}:{})", self.host, self.port)
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn mozilla() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    // The cryptography that the process has chosen, if it has.
    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| {
            Error::new(ErrorKind::Config, "the cryptography of this process can't be used for TLS")
                .with_source(why)
        })?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_nobody_can_forge_are_taken() {
        for good in [
            "https://issuer.example/jwks",
            "https://issuer.example:8443/a?b=c",
            "https://[::1]/jwks",
            "http://127.0.0.1:8080/jwks",
            "http://localhost/jwks",
            "http://[::1]:80/jwks",
        ] {
            assert!(HttpJwks::new(good).is_ok(), "{good}");
        }
        for bad in [
            "http://issuer.example/jwks",
            "http://localhost.example/jwks",
            "http://127.0.0.1.example/jwks",
            "http://10.0.0.1/jwks",
            "https://user:pass@issuer.example/jwks",
            "http://user@localhost/",
            "ftp://issuer.example/",
            "file:///etc/passwd",
            "issuer.example/jwks",
            "/jwks",
            "",
        ] {
            assert!(HttpJwks::new(bad).is_err(), "{bad}");
        }
        let shown = format!("{:?}", HttpJwks::new("https://issuer.example/jwks?secret").unwrap());
        assert_eq!(shown, "HttpJwks(issuer.example:443)");
        assert!(HttpJwks::new("https://issuer.example/").unwrap().roots(b"no PEM").is_err());
    }
}
