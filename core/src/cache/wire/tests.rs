//! The stored form, held to bytes that were written down.

use proptest::prelude::*;

use super::*;
use crate::cache::{Generation, Tag};
use crate::codec::Json;
use crate::key::Key;

/// Gives 0, 1, 2, …: the nonce of what was written down.
#[derive(Debug)]
struct Counting;

impl Random for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        for (byte, n) in buffer.iter_mut().zip(0..) {
            *byte = n;
        }
        Ok(())
    }
}

/// The bytes of a file: hexadecimal numbers, and remarks behind `#`.
fn golden(text: &str) -> Bytes {
    let digits: String =
        text.lines().flat_map(|line| line.split('#').next().unwrap().split_whitespace()).collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

macro_rules! golden {
    ($name:literal) => {
        golden(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/", $name)))
    };
}

/// The length of a header of this key without tags.
const HEAD: usize = 48;

fn key() -> Key {
    Key::new("cache", "user", "u1").unwrap()
}

fn secret(id: u32) -> [u8; 32] {
    let mut secret = [0x42; 32];
    secret[..4].copy_from_slice(&id.to_be_bytes());
    secret
}

fn keyring(id: u32) -> Keyring {
    Keyring::new(EncryptionKey::new(id, &secret(id)))
}

fn stamp() -> Stamp {
    Stamp {
        fresh_until: Timestamp::from_micros(1_790_000_000_000_000),
        load_millis: 250,
        life_millis: 600_000,
        namespace: Some(Generation::new(1_780_000_000_000_001)),
        tags: Vec::new(),
        grace: Duration::ZERO,
    }
}

fn tagged() -> Stamp {
    let tags = [("team:7", 7), ("user", 1_780_000_000_000_002)]
        .map(|(name, generation)| (Tag::new(name).unwrap(), Generation::new(generation)));
    Stamp { tags: tags.into(), ..stamp() }
}

fn compressing() -> Wire<Json> {
    Wire { compression: Some(Compression::lz4().over(100)), ..Wire::new(Json) }
}

fn sealing() -> Wire<Json> {
    Wire { keyring: Some(keyring(1)), ..Wire::new(Json) }
}

fn both() -> Wire<Json> {
    Wire { keyring: Some(keyring(1)), ..compressing() }
}

fn long() -> String {
    "Ada ".repeat(100)
}

fn write(wire: &Wire<Json>, value: Option<&str>, stamp: Stamp) -> Bytes {
    wire.encode(&key(), value.as_ref(), stamp, &Counting).unwrap()
}

fn read_at(wire: &Wire<Json>, key: &Key, bytes: &[u8]) -> Result<(Option<String>, Stamp)> {
    match wire.read(key, bytes) {
        Read::Entry(entry) => Ok((wire.body(&entry)?, entry.stamp)),
        Read::Newer => panic!("newer"),
        Read::Unreadable(error) => Err(error),
    }
}

fn read(wire: &Wire<Json>, bytes: &[u8]) -> Result<(Option<String>, Stamp)> {
    read_at(wire, &key(), bytes)
}

/// A wire, what it wrote down, the value and the stamp in it, and whether other writers give the same bytes.
type Golden = (&'static str, Wire<Json>, Bytes, Option<String>, Stamp, bool);

fn all() -> Vec<Golden> {
    let (a, long) = (Some("a".to_owned()), Some(long()));
    vec![
        ("v2-bare", Wire::new(Json), golden!("v2-bare.hex"), a.clone(), stamp(), true),
        ("v2-tags", Wire { schema: 3, ..Wire::new(Json) }, golden!("v2-tags.hex"), a.clone(), tagged(), true),
        ("v2-absent", Wire::new(Json), golden!("v2-absent.hex"), None, stamp(), true),
        // LZ4 may find another form of the same; what reads it is what counts.
        ("v2-compressed", compressing(), golden!("v2-compressed.hex"), long.clone(), stamp(), false),
        ("v2-encrypted", sealing(), golden!("v2-encrypted.hex"), a, tagged(), true),
        ("v2-encrypted-absent", sealing(), golden!("v2-encrypted-absent.hex"), None, stamp(), true),
        ("v2-compressed-encrypted", both(), golden!("v2-compressed-encrypted.hex"), long, stamp(), false),
    ]
}

#[test]
fn what_was_written_down_is_read_and_written() {
    for (name, wire, bytes, value, stamp, same) in all() {
        let written = write(&wire, value.as_deref(), stamp.clone());
        assert_eq!(read(&wire, &written).unwrap(), (value.clone(), stamp.clone()), "{name}");
        assert_eq!(read(&wire, &bytes).unwrap(), (value, stamp), "{name}");
        if same {
            assert_eq!(written, bytes, "{name}: {written:02X?}");
        }
    }
}

#[test]
fn the_version_before_is_read() {
    let bytes = golden!("v1.hex");
    assert_eq!(bytes[..], [0xB5, 1, 1, 0, 0x22, 0x61, 0x22]);
    assert_eq!(read(&Wire::new(Json), &bytes).unwrap(), (Some("a".into()), Stamp::default()));
    // It was never encrypted.
    assert!(read(&sealing(), &bytes).is_err());
    let unknown = [0xB5, 3, 1, 0, 0x22, 0x61, 0x22];
    assert!(read(&Wire::new(Json), &unknown).is_err());
}

#[test]
fn damage_gives_an_error_and_never_a_panic() {
    for (name, wire, bytes, value, stamp, _) in all() {
        for end in 0..bytes.len() {
            // A JSON text in two halves is none.
            assert!(read(&wire, &bytes[..end]).is_err(), "{name}, {end} bytes of {}", bytes.len());
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1 << bit;
                let outcome = match wire.read(&key(), &damaged) {
                    Read::Newer => continue,
                    Read::Unreadable(error) => Err(error),
                    Read::Entry(entry) => wire.body::<String>(&entry).map(|value| (value, entry.stamp)),
                };
                match outcome {
                    Err(error) => assert_eq!(error.kind(), crate::ErrorKind::Codec, "{name}: {error}"),
                    // Nothing proves the rest of what is not encrypted.
                    Ok(found) if wire.keyring.is_none() => drop(found),
                    Ok(found) => panic!("{name}, bit {bit} of byte {at}: {found:?}"),
                }
            }
        }
        assert!(read_at(&wire, &Key::new("cache", "user", "u2").unwrap(), &bytes).is_err(), "{name}");
        let longer = [&bytes[..], b"x"].concat();
        if value.is_some() || wire.keyring.is_some() {
            assert!(read(&wire, &longer).is_err(), "{name} {stamp:?}");
        }
    }
}

#[test]
fn only_the_right_key_opens_a_value() {
    let old = sealing();
    let new = Wire { keyring: Some(keyring(2)), ..Wire::new(Json) };
    let keyring = keyring(2).reading(EncryptionKey::new(1, &secret(1)));
    let both = Wire { keyring: Some(keyring), ..Wire::new(Json) };
    let by_old = write(&old, Some("a"), stamp());
    assert!(read(&new, &by_old).is_err());
    assert!(read(&both, &by_old).is_ok());
    let by_both = write(&both, Some("a"), stamp());
    assert!(read(&new, &by_both).is_ok() && read(&old, &by_both).is_err());
    // The number of one key and the secret of another.
    let wrong = Wire { keyring: Some(Keyring::new(EncryptionKey::new(1, &secret(2)))), ..Wire::new(Json) };
    assert!(read(&wrong, &by_old).is_err());
    assert_eq!(format!("{both:?}").matches("EncryptionKey").count(), 2);
    assert!(!format!("{both:?}").contains("66"), "a secret is shown");
    // Neither kind of cache takes the values of the other.
    let bare = write(&Wire::new(Json), Some("a"), stamp());
    assert!(read(&old, &bare).is_err() && read(&Wire::new(Json), &by_old).is_err());
}

/// A body moved behind another header of the same key: what proves it is the whole header.
#[test]
fn a_body_is_bound_to_its_header() {
    let (wire, later) = (sealing(), Timestamp::from_micros(u64::MAX));
    let now = write(&wire, Some("a"), stamp());
    let then = write(&wire, Some("a"), Stamp { fresh_until: later, ..stamp() });
    assert!(read(&wire, &now).is_ok() && read(&wire, &then).is_ok());
    let forged = [&then[..HEAD], &now[HEAD..]].concat();
    assert!(read(&wire, &forged).is_err());
}

#[test]
fn a_renewed_value_is_the_same_with_another_end() {
    let later = Timestamp::from_micros(1_800_000_000_000_000);
    for (name, wire, bytes, value, stamp, _) in all() {
        let renewed = wire.renewed(&key(), &bytes, later, &Counting).unwrap().unwrap();
        let expected = Stamp { fresh_until: later, ..stamp };
        assert_eq!(read(&wire, &renewed).unwrap(), (value, expected), "{name}");
    }
    assert!(Wire::new(Json).renewed(&key(), &golden!("v1.hex"), later, &Counting).unwrap().is_none());
    assert!(sealing().renewed(&key(), &golden!("v2-bare.hex"), later, &Counting).is_err());
}

fn wires() -> impl Strategy<Value = Wire<Json>> {
    prop::sample::select(vec![Wire::new(Json), compressing(), sealing(), both()])
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        wire in wires(),
        id in "\\PC{1,20}|[:{}*% \\n]{1,8}",
        names in prop::collection::vec("\\PC{1,12}", 0..5),
        value in prop::option::of("\\PC{0,80}|[ab]{100,400}"),
        numbers in any::<(u64, u32, u64, u32)>(),
    ) {
        let key = Key::new("cache", "user", id).unwrap();
        let tags = names.iter().map(|name| (Tag::new(name).unwrap(), Generation::new(numbers.2 / 2))).collect();
        let stamp = Stamp {
            fresh_until: Timestamp::from_micros(numbers.0),
            load_millis: numbers.1,
            life_millis: numbers.3,
            grace: Duration::ZERO,
            namespace: Some(Generation::new(numbers.2)),
            tags,
        };
        let bytes = wire.encode(&key, value.as_ref(), stamp.clone(), &crate::random::SystemRandom).unwrap();
        prop_assert_eq!(read_at(&wire, &key, &bytes).unwrap(), (value, stamp));
    }

    #[test]
    fn no_bytes_panic(wire in wires(), head in prop::option::of(0..7_usize), bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        // Behind a header that is right, or none.
        let begin = head.map_or(Bytes::new(), |n| all()[n].2.slice(..HEAD));
        let bytes = [&begin[..], &bytes].concat();
        if let Read::Entry(entry) = wire.read(&key(), &bytes) {
            let _ = wire.body::<String>(&entry);
        }
        let _ = wire.renewed(&key(), &Bytes::from(bytes), Timestamp::default(), &Counting);
    }
}
