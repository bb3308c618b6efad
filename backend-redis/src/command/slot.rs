//! Which of the 16,384 slots a key belongs to (Redis Cluster specification, "Key distribution model").

/// The slot of a key: CRC16 (XMODEM) of its hash tag, or of all of it.
pub(crate) fn slot(key: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(hash_tag(key)) % 16_384
}

/// The slot of a key without a hash tag that is these parts one after the other.
pub(crate) fn slot_of_parts<const N: usize>(parts: [&str; N]) -> u16 {
    let mut state = crc16::State::<crc16::XMODEM>::new();
    for part in parts {
        state.update(part.as_bytes());
    }
    state.get() % 16_384
}

/// The text between the first `{` and the next `}`, if that is not empty.
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else {
        return key;
    };
    let inside = &key[open + 1..];
    match inside.iter().position(|byte| *byte == b'}') {
        Some(length) if length > 0 => &inside[..length],
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31C3);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b"foo{}{bar}"), slot(b"foo{}{bar}"));
        assert_ne!(slot(b"foo{}{bar}"), slot(b"bar"));
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot_of_parts(["", "123", "456789"]), slot(b"123456789"));
    }
}
