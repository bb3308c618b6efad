//! Framing: where one reply ends and the next begins.

/// Follows the bytes from a server, in whatever pieces they come. It only counts: what a reply says is read by the client.
///
/// The format is RESP: a line that begins with a type; behind that of a string its bytes, behind that of a collection its
/// values (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
#[derive(Debug, Default)]
pub(super) struct Framing {
    // Those still to come of the reply under way, the one that is being read among them; 0 between two replies.
    values: u64,
    // Of the string under way, with the end of its line.
    bytes: u64,
    line: Line,
}

/// The line under way.
#[derive(Debug, Default)]
enum Line {
    #[default]
    None,
    /// Of no length that matters.
    Simple,
    /// Behind which so many of something come.
    Counted { of: Of, count: u64, none: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Bytes,
    Values,
    Pairs,
    /// Pairs that come before the value that they are said of.
    PairsBefore,
}

impl Line {
    fn of_type(first: u8) -> Self {
        let of = match first {
            b'$' | b'!' | b'=' => Of::Bytes,
            b'*' | b'~' | b'>' => Of::Values,
            b'%' => Of::Pairs,
            b'|' => Of::PairsBefore,
            _ => return Self::Simple,
        };
        Self::Counted { of, count: 0, none: false }
    }
}

impl Framing {
    /// How much of these bytes belongs to the reply under way, if it ends in them.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(next) = bytes.get(at) {
            if self.bytes > 0 {
                let here = usize::try_from(self.bytes).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.bytes -= here as u64;
                at += here;
                if self.bytes == 0 && self.was_the_last() {
                    return Some(at);
                }
                continue;
            }
            at += 1;
            if self.ends_line(*next) && self.was_the_last() {
                return Some(at);
            }
        }
        None
    }

    /// How many bytes of the string under way are still to come.
    pub(super) fn to_come(&self) -> u64 {
        self.bytes
    }

    /// Takes one byte of a line; answers whether a value ends with it.
    fn ends_line(&mut self, byte: u8) -> bool {
        match (&mut self.line, byte) {
            (line @ Line::None, first) => {
                *line = Line::of_type(first);
                self.values = self.values.max(1);
                false
            }
            (Line::Counted { count, .. }, b'0'..=b'9') => {
                *count = count.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
                false
            }
            (Line::Counted { none, .. }, b'-') => {
                *none = true;
                false
            }
            (line, b'\n') => match std::mem::take(line) {
                Line::Counted { of, count, none: false } => self.follows(of, count),
                _ => true,
            },
            _ => false,
        }
    }

    /// So many follow; answers whether the value ends here all the same, as one of those.
    fn follows(&mut self, of: Of, count: u64) -> bool {
        let values = match of {
            Of::Bytes => {
                self.bytes = count.saturating_add(2);
                return false;
            }
            Of::Values => count,
            Of::Pairs => count.saturating_mul(2),
            Of::PairsBefore => count.saturating_mul(2).saturating_add(1),
        };
        self.values = self.values.saturating_add(values);
        true
    }

    /// A value has ended; answers whether the reply has.
    fn was_the_last(&mut self) -> bool {
        self.values = self.values.saturating_sub(1);
        self.values == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each is one reply.
    const REPLIES: &[&str] = &[
        "+OK\r\n",
        "-ERR of - all 5 things\r\n",
        ":-1000\r\n",
        "$5\r\nhello\r\n",
        "$0\r\n\r\n",
        "$-1\r\n",
        "$12\r\n*3\r\n$1\r\n+OK\n\r\n",
        "*0\r\n",
        "*-1\r\n",
        "*2\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n",
        "_\r\n",
        "#t\r\n",
        ",1.23e-5\r\n",
        "(3492890328409238509324850943850943825024385\r\n",
        "!21\r\nSYNTAX invalid syntax\r\n",
        "=15\r\ntxt:Some string\r\n",
        "%2\r\n+first\r\n:1\r\n+second\r\n*1\r\n:2\r\n",
        "~2\r\n#t\r\n$-1\r\n",
        "|1\r\n+key-popularity\r\n%1\r\n$1\r\na\r\n,0.1923\r\n*2\r\n:2039123\r\n:9543892\r\n",
        ">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nfoo\r\n",
    ];

    proptest! {
        #[test]
        fn replies_are_framed_in_whatever_pieces_they_come(
            which in prop::collection::vec(0..REPLIES.len(), 1..20),
            pieces in prop::collection::vec(1..40_usize, 1..20),
        ) {
            let mut text = Vec::new();
            let mut ends = Vec::new();
            for reply in which {
                text.extend(REPLIES[reply].as_bytes());
                ends.push(text.len());
            }
            let (mut framing, mut found, mut at) = (Framing::default(), Vec::new(), 0);
            for length in pieces.iter().cycle() {
                let piece_end = (at + length).min(text.len());
                while let Some(length) = framing.end(&text[at..piece_end]) {
                    at += length;
                    found.push(at);
                }
                at = piece_end;
                if at == text.len() {
                    break;
                }
            }
            prop_assert_eq!(found, ends);
        }

        #[test]
        fn nonsense_breaks_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut framing = Framing::default();
            for mut text in [&bytes[..], b"$18446744073709551616\r\n*99999999999999999999999\r\n"] {
                while let Some(end) = framing.end(text) {
                    text = &text[end..];
                }
            }
        }
    }

    #[test]
    fn what_is_to_come_of_a_string_is_known() {
        let mut framing = Framing::default();
        assert_eq!(framing.end(b"$100000\r\nabc"), None);
        assert_eq!(framing.to_come(), 99_999);
        assert_eq!(framing.end(&vec![b'x'; 99_999]), Some(99_999));
        assert_eq!((framing.to_come(), framing.end(b"+OK\r\n")), (0, Some(5)));
    }
}
