//! A token as it is sent: three parts of base64url, of which the first is read before anything is trusted (RFC 7515).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::JwtAlgorithm;
use super::error::Invalid;

/// The longest token that is read or issued, in bytes: 16 KiB, twice what servers usually take in a header.
pub const MAX_JWT: usize = 16 * 1024;

/// A token whose form and header are right, and whose signature nobody has looked at yet.
pub(super) struct Compact<'a> {
    pub(super) algorithm: JwtAlgorithm,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    /// What is signed: header and payload, as they were sent.
    pub(super) message: &'a str,
    pub(super) signature: Vec<u8>,
    /// Not to be believed until the signature is found right.
    pub(super) claims: Map<String, Value>,
}

impl<'a> Compact<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, Invalid> {
        if token.len() > MAX_JWT {
            return Err(Invalid::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Invalid::Form)?;
        // A dot more is in the first part, and no base64url.
        let (header, payload) = message.rsplit_once('.').ok_or(Invalid::Form)?;
        let mut header = object(header)?;
        // Extensions that must be understood are understood by nobody here; an empty list is wrong in itself. Other
        // headers are passed over, as they should be: no key is ever taken from `jwk`, `jku`, `x5c` or `x5u`.
        if header.contains_key("crit") {
            return Err(Invalid::Critical);
        }
        let algorithm = text(&mut header, "alg")?.ok_or(Invalid::Header("alg"))?;
        Ok(Self {
            algorithm: JwtAlgorithm::of_name(&algorithm).ok_or(Invalid::Algorithm)?,
            kid: text(&mut header, "kid")?,
            typ: text(&mut header, "typ")?,
            message,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| Invalid::Form)?,
            claims: object(payload)?,
        })
    }
}

/// A part that is a JSON object. Of a name that it has twice the last value holds (RFC 7519, section 4).
fn object(part: &str) -> Result<Map<String, Value>, Invalid> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Invalid::Form)?;
    serde_json::from_slice(&bytes).map_err(|_| Invalid::Form)
}

fn text(header: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, Invalid> {
    match header.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Invalid::Header(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"))
    }

    fn refused(token: &str) -> Option<Invalid> {
        Compact::parse(token).err()
    }

    #[test]
    fn a_header_is_read_strictly() {
        assert_eq!(refused(&token(r#"{"alg":"HS256","kid":"k","x":1}"#)), None);
        for (header, invalid) in [
            (r#"{"alg":"HS256","crit":[]}"#, Invalid::Critical),
            (r#"{"alg":"HS256","crit":["exp2"],"exp2":1}"#, Invalid::Critical),
            (r#"{"alg":"HS256","crit":null}"#, Invalid::Critical),
            (r#"{"kid":"k"}"#, Invalid::Header("alg")),
            (r#"{"alg":["HS256"]}"#, Invalid::Header("alg")),
            (r#"{"alg":"HS256","kid":7}"#, Invalid::Header("kid")),
            (r#"{"alg":"HS256","typ":null}"#, Invalid::Header("typ")),
            (r#"{"alg":"none"}"#, Invalid::Algorithm),
            (r#"["HS256"]"#, Invalid::Form),
        ] {
            assert_eq!(refused(&token(header)), Some(invalid), "{header}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_by_its_form() {
        let good = token(r#"{"alg":"HS256"}"#);
        assert_eq!(refused(&good), None);
        // The last two spell the same bytes in another way, and would be a second token of the same meaning.
        for bad in [
            "",
            ".",
            "..",
            "a.b.c",
            &format!("{good}."),
            &format!(".{good}"),
            &format!("{good}="),
            &format!("{}B", &good[..good.len() - 1]),
        ] {
            assert_eq!(refused(bad), Some(Invalid::Form), "{bad}");
        }
        assert_eq!(refused(&"a".repeat(MAX_JWT + 1)), Some(Invalid::TooLong));
        let deep = "[".repeat(4_000);
        assert_eq!(refused(&token(&format!(r#"{{"alg":{deep}"#))), Some(Invalid::Form));
    }
}
