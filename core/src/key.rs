//! Names of everything that is stored: `{service}:{type}:{identifier}:{subkey}`.
//!
//! A [`Key`] is the only way to name anything. It is built from checked segments, so that no identifier can
//! leave its namespace, hit a glob, or move to another Cluster slot: reserved characters inside an
//! identifier are percent-escaped. Two different identifiers never give the same key. The full rules, for
//! programs in other languages, are in `core/docs/wire-format.md`.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The longest name of a service, type or prefix, in bytes.
pub const MAX_NAME: usize = 64;
/// The longest identifier or subkey after escaping, in bytes.
pub const MAX_IDENTIFIER: usize = 512;

/// A validated name of a service, a type or a deployment: `[a-z0-9_-]`, 1 to [`MAX_NAME`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks a name. Nothing is escaped here: a brace or a colon in a name would move or split the key.
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > MAX_NAME {
            return Err(Error::invalid(format!(
                "a name must have 1 to {MAX_NAME} bytes, got {}",
                text.len()
            )));
        }
        match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_' | '-')) {
            Some(bad) => Err(Error::invalid(format!(
                "a name takes only a-z, 0-9, '_' and '-', got {bad:?} in {text:?}"
            ))),
            None => Ok(Self(text.into())),
        }
    }

    /// A name that is known to be one; for constants of this library.
    pub(crate) fn literal(text: &'static str) -> Self {
        debug_assert!(Self::new(text).is_ok(), "{text:?} is no name");
        Self(text.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What can stand as an identifier: text, whole numbers, UUIDs.
pub trait Identifier {
    /// Hands over the raw text, which is not kept; [`Key`] escapes it. Numbers are written on the stack.
    fn with_text<R>(&self, use_text: impl FnOnce(&str) -> R) -> R;

    /// The address, if it is one: limits count a network of IPv6 as one subject ([`AddressPrefix`](crate::limit::AddressPrefix)).
    fn address(&self) -> Option<std::net::IpAddr> {
        None
    }
}

impl Identifier for str {
    fn with_text<R>(&self, use_text: impl FnOnce(&str) -> R) -> R {
        use_text(self)
    }
}

impl Identifier for String {
    fn with_text<R>(&self, use_text: impl FnOnce(&str) -> R) -> R {
        use_text(self)
    }
}

impl<T: Identifier + ?Sized> Identifier for &T {
    fn with_text<R>(&self, use_text: impl FnOnce(&str) -> R) -> R {
        (**self).with_text(use_text)
    }

    fn address(&self) -> Option<std::net::IpAddr> {
        (**self).address()
    }
}

/// Room for a short text on the stack.
struct Room<const N: usize> {
    bytes: [u8; N],
    used: usize,
}

impl<const N: usize> Room<N> {
    fn new() -> Self {
        Self { bytes: [0; N], used: 0 }
    }

    /// Whether it fits.
    fn push(&mut self, text: &str) -> bool {
        let end = self.used + text.len();
        let Some(room) = self.bytes.get_mut(self.used..end) else { return false };
        room.copy_from_slice(text.as_bytes());
        self.used = end;
        true
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.used]).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Write for Room<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.push(text) { Ok(()) } else { Err(fmt::Error) }
    }
}

fn written<R>(text: fmt::Arguments<'_>, use_text: impl FnOnce(&str) -> R) -> R {
    // There is room for 128 bits and a sign, and for the longest address.
    let mut digits = Room::<40>::new();
    let _ = fmt::write(&mut digits, text);
    use_text(digits.text())
}

macro_rules! integer_identifiers {
    ($($int:ty)*) => {$(
        impl Identifier for $int {
            fn with_text<R>(&self, use_text: impl FnOnce(&str) -> R) -> R {
                written(format_args!("{self}"), use_text)
            }
        }
    )*};
}
integer_identifiers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

impl Identifier for std::net::IpAddr {
    /// An IPv4 address that came mapped into IPv6 is the same client, and the same identifier.
    fn with_text<R>(&self, use_text: impl FnOnce(&str) -> R) -> R {
        written(format_args!("{}", self.to_canonical()), use_text)
    }

    fn address(&self) -> Option<std::net::IpAddr> {
        Some(*self)
    }
}

impl Identifier for uuid::Uuid {
    fn with_text<R>(&self, use_text: impl FnOnce(&str) -> R) -> R {
        use_text(self.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
    }
}

/// Where keys of one kind live: the first two segments, `service:type`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace {
    service: Name,
    kind: Name,
}

impl Namespace {
    /// Checks both names.
    pub fn new(service: &str, kind: &str) -> Result<Self> {
        Ok(Self { service: Name::new(service)?, kind: Name::new(kind)? })
    }

    /// The first segment.
    pub fn service(&self) -> &Name {
        &self.service
    }

    /// The second segment.
    pub fn kind(&self) -> &Name {
        &self.kind
    }

    /// A key in this namespace.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the identifier is empty or longer than
    /// [`MAX_IDENTIFIER`] bytes after escaping.
    pub fn key(&self, identifier: impl Identifier) -> Result<Key> {
        let (service, kind) = (self.service.as_str(), self.kind.as_str());
        // Most are short and stand as they are: then the key is the only memory that is taken. Every read makes one.
        let mut short = Room::<128>::new();
        let fits = |raw: &str| {
            is_plain(raw) && [service, ":", kind, ":", raw].into_iter().all(|part| short.push(part))
        };
        if identifier.with_text(fits) {
            return Ok(Key(short.text().into()));
        }
        let mut text = String::with_capacity(service.len() + kind.len() + 26);
        text.push_str(service);
        text.push(':');
        text.push_str(kind);
        push_segment(&mut text, identifier)?;
        Ok(Key(text.into()))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.kind)
    }
}

/// A validated, escaped key: `service:type:identifier` or `service:type:identifier:subkey`, without the
/// deployment prefix, which the backend puts before it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// `service:type:identifier`.
    pub fn new(service: &str, kind: &str, identifier: impl Identifier) -> Result<Self> {
        Namespace::new(service, kind)?.key(identifier)
    }

    /// This key with one more segment.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) as for [`Namespace::key`], and if the key has a
    /// subkey already.
    pub fn subkey(&self, subkey: impl Identifier) -> Result<Self> {
        if self.0.bytes().filter(|b| *b == b':').count() > 2 {
            return Err(Error::invalid(format!("the key {} has a subkey already", self.0)));
        }
        let mut text = String::with_capacity(self.0.len() + 16);
        text.push_str(&self.0);
        push_segment(&mut text, subkey)?;
        Ok(Self(text.into()))
    }

    /// The key of a text that was one when it was stored.
    pub(crate) fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The escaped text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Appends `:` and the escaped identifier, checking both bounds.
fn push_segment(text: &mut String, identifier: impl Identifier) -> Result<()> {
    text.push(':');
    let start = text.len();
    identifier.with_text(|raw| text.push_str(raw));
    if text.len() == start {
        return Err(Error::invalid("an identifier must not be empty"));
    }
    if !is_plain(&text[start..]) {
        let raw = text.split_off(start);
        escape_into(text, &raw);
    }
    match text.len() - start {
        length if length > MAX_IDENTIFIER => Err(Error::invalid(format!(
            "an identifier may have {MAX_IDENTIFIER} bytes after escaping, got {length}"
        ))),
        _ => Ok(()),
    }
}

/// Escapes one identifier as it is written inside a key; backends use it for names of their own layouts.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) if it is empty or longer than [`MAX_IDENTIFIER`] bytes
/// after escaping.
pub fn escape(identifier: impl Identifier) -> Result<String> {
    let mut text = String::new();
    push_segment(&mut text, identifier)?;
    Ok(text.split_off(1))
}

/// What was [escaped](escape) to this; `None` for what no identifier is escaped to.
pub fn unescape(text: &str) -> Option<String> {
    let mut raw = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        raw.push(if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            digit(bytes.next()?)? << 4 | digit(bytes.next()?)?
        } else {
            byte
        });
    }
    let raw = String::from_utf8(raw).ok()?;
    (escape(raw.as_str()).ok()? == text).then_some(raw)
}

/// A stable hash of a text, 0 to 65,535: the first two bytes, big-endian, of its SHA-256. What must share a
/// Cluster slot is grouped by it, modulo the deployment's bucket count.
pub fn bucket_of(text: &str) -> u16 {
    let digest = Sha256::digest(text.as_bytes());
    u16::from_be_bytes([digest[0], digest[1]])
}

fn escape_into(out: &mut String, raw: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for c in raw.chars() {
        if is_reserved(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        } else {
            out.push(c);
        }
    }
}

/// Whether a raw text is written in a key as it is, without an escape.
pub(crate) fn is_plain(raw: &str) -> bool {
    // A look at each byte is enough for what most identifiers are made of; this is on the path of every near hit.
    const PLAIN: [bool; 256] = {
        let mut plain = [false; 256];
        let mut byte = b'!';
        while byte <= b'~' {
            plain[byte as usize] =
                !matches!(byte, b':' | b'{' | b'}' | b'*' | b'?' | b'[' | b']' | b'\\' | b'%');
            byte += 1;
        }
        plain
    };
    let plain = || raw.bytes().all(|byte| PLAIN[usize::from(byte)]) || !raw.chars().any(is_reserved);
    !raw.is_empty() && raw.len() <= MAX_IDENTIFIER && plain()
}

/// Separators, hash-tag braces, glob characters, the escape itself, controls and blanks.
fn is_reserved(c: char) -> bool {
    matches!(c, ':' | '{' | '}' | '*' | '?' | '[' | ']' | '\\' | '%') || c.is_control() || c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_escaped_is_unescaped_and_nothing_else() {
        for raw in ["u1", "a:b", "{é}", "a%3Ab", "a\n", "\u{85}"] {
            assert_eq!(unescape(&escape(raw).unwrap()).as_deref(), Some(raw));
        }
        for bad in ["", "a:b", "%", "%3", "%3g", "%3a", "%41", "%FF"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_key_reads_as_the_layout_says() {
        assert_eq!(Key::new("cache", "user", "u123").unwrap().as_str(), "cache:user:u123");
        assert_eq!(Key::new("cache", "user", 42_u64).unwrap().as_str(), "cache:user:42");
        let key = Key::new("user-service", "profile", "u1").unwrap().subkey("avatar").unwrap();
        assert_eq!(key.as_str(), "user-service:profile:u1:avatar");
        assert!(key.subkey("more").is_err());
    }

    #[test]
    fn an_address_is_one_identifier_however_it_came() {
        let key = |address: &str| {
            Key::new("rate_limit", "login", address.parse::<std::net::IpAddr>().unwrap()).unwrap()
        };
        assert_eq!(key("203.0.113.7").as_str(), "rate_limit:login:203.0.113.7");
        assert_eq!(key("::ffff:203.0.113.7"), key("203.0.113.7"));
        assert_eq!(key("2001:DB8:0::1").as_str(), "rate_limit:login:2001%3Adb8%3A%3A1");
    }

    #[test]
    fn reserved_characters_are_escaped_and_others_kept() {
        assert_eq!(
            Key::new("cache", "user", "a:b{c}*?[d]\\%\n\0 é").unwrap().as_str(),
            "cache:user:a%3Ab%7Bc%7D%2A%3F%5Bd%5D%5C%25%0A%00%20é"
        );
        // A Unicode control and a Unicode blank are escaped byte by byte.
        assert_eq!(escape("\u{85}\u{3000}").unwrap(), "%C2%85%E3%80%80");
    }

    #[test]
    fn empty_and_overlong_parts_are_refused() {
        assert!(Key::new("cache", "user", "").is_err());
        assert!(Key::new("", "user", "1").is_err());
        assert!(Key::new("Cache", "user", "1").is_err());
        assert!(Key::new("cache", "us{er", "1").is_err());
        assert!(Key::new("cache", "user", "x".repeat(MAX_IDENTIFIER)).is_ok());
        assert!(Key::new("cache", "user", "x".repeat(MAX_IDENTIFIER + 1)).is_err());
        assert!(Key::new("cache", "user", " ".repeat(MAX_IDENTIFIER / 3 + 1)).is_err());
        assert!(Name::new(&"n".repeat(MAX_NAME + 1)).is_err());
    }

    proptest! {
        #[test]
        fn different_identifiers_never_share_a_key(a in "\\PC{1,40}|[:{}*%\\n a0-9]{1,12}", b in "\\PC{1,40}|[:{}*%\\n a0-9]{1,12}") {
            prop_assume!(a != b);
            prop_assert_ne!(Key::new("s", "t", a).unwrap(), Key::new("s", "t", b).unwrap());
        }

        #[test]
        fn an_identifier_stays_in_its_segment(id in any::<String>()) {
            prop_assume!(!id.is_empty());
            if let Ok(key) = Key::new("s", "t", &id) {
                let rest = key.as_str().strip_prefix("s:t:").unwrap();
                let left_over = rest.contains([':', '{', '}', '*', '?', '[', ']', '\\', '\n', '\r', '\0', ' ']);
                prop_assert!(!left_over, "{}", rest);
            }
        }
    }
}
