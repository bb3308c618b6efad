//! As much of the Redis protocol as the harness needs, to talk to a server and to listen in.

/// One reply. Kinds that the harness never tells apart share a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// No value.
    Nil,
    /// A number.
    Int(i64),
    /// A line or a string of bytes.
    Text(Vec<u8>),
    /// An error line, without its leading minus.
    Error(String),
    /// An array or a set; a map is a flat array of keys and values.
    Array(Vec<Reply>),
    /// Something the server says unasked: a message or an invalidation.
    Push(Vec<Reply>),
}

impl Reply {
    /// The text of a line, a string, a number or an error; empty for anything else.
    pub fn text(&self) -> String {
        match self {
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Int(number) => number.to_string(),
            Self::Error(line) => line.clone(),
            Self::Nil | Self::Array(_) | Self::Push(_) => String::new(),
        }
    }

    /// The number, if it is one.
    pub const fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements; none for anything that has no elements.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) | Self::Push(items) => items,
            _ => &[],
        }
    }

    /// Whether the server refused.
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

/// What could be read from the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<T> {
    /// One whole value, and how many bytes it took.
    Whole(T, usize),
    /// The value goes on in bytes that have not come yet.
    Partial,
    /// Not this protocol.
    Garbled,
}

/// The first reply in a buffer.
pub(super) fn parse(buffer: &[u8]) -> Parsed<Reply> {
    let mut at = 0;
    match value(buffer, &mut at) {
        Ok(reply) => Parsed::Whole(reply, at),
        Err(Stop::Partial) => Parsed::Partial,
        Err(Stop::Garbled) => Parsed::Garbled,
    }
}

/// The first request in a buffer: its words.
pub(super) fn parse_request(buffer: &[u8]) -> Parsed<Vec<Vec<u8>>> {
    match parse(buffer) {
        Parsed::Whole(Reply::Array(items), used) => {
            let words = items.into_iter().map(|item| match item {
                Reply::Text(word) => Some(word),
                _ => None,
            });
            words.collect::<Option<_>>().map_or(Parsed::Garbled, |words| Parsed::Whole(words, used))
        }
        Parsed::Partial => Parsed::Partial,
        Parsed::Whole(..) | Parsed::Garbled => Parsed::Garbled,
    }
}

/// A request as bytes.
pub(super) fn encode<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.as_ref().len()).as_bytes());
        bytes.extend_from_slice(word.as_ref());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

enum Stop {
    Partial,
    Garbled,
}

fn value(buffer: &[u8], at: &mut usize) -> Result<Reply, Stop> {
    let line = line(buffer, at)?;
    let (kind, rest) = line.split_first().ok_or(Stop::Garbled)?;
    let text = || String::from_utf8_lossy(rest).into_owned();
    match kind {
        b'+' | b',' | b'(' => Ok(Reply::Text(rest.to_vec())),
        b'-' => Ok(Reply::Error(text())),
        b':' => text().parse().map(Reply::Int).map_err(|_| Stop::Garbled),
        b'#' => Ok(Reply::Int(i64::from(rest == b"t"))),
        b'_' => Ok(Reply::Nil),
        b'$' | b'=' | b'!' => Ok(match blob(buffer, at, length(rest)?)? {
            None => Reply::Nil,
            Some(bytes) if *kind == b'!' => Reply::Error(String::from_utf8_lossy(bytes).into_owned()),
            Some(bytes) => Reply::Text(bytes.to_vec()),
        }),
        b'*' | b'~' => match length(rest)? {
            None => Ok(Reply::Nil),
            Some(count) => values(buffer, at, count).map(Reply::Array),
        },
        b'>' => values(buffer, at, length(rest)?.unwrap_or(0)).map(Reply::Push),
        b'%' => values(buffer, at, 2 * length(rest)?.unwrap_or(0)).map(Reply::Array),
        b'|' => {
            // Remarks about the value that follows.
            values(buffer, at, 2 * length(rest)?.unwrap_or(0))?;
            value(buffer, at)
        }
        _ => Err(Stop::Garbled),
    }
}

fn values(buffer: &[u8], at: &mut usize, count: usize) -> Result<Vec<Reply>, Stop> {
    (0..count).map(|_| value(buffer, at)).collect()
}

fn line<'a>(buffer: &'a [u8], at: &mut usize) -> Result<&'a [u8], Stop> {
    let rest = &buffer[*at..];
    let end = rest.windows(2).position(|two| two == b"\r\n").ok_or(Stop::Partial)?;
    *at += end + 2;
    Ok(&rest[..end])
}

/// `None` is the length -1: no value.
fn length(digits: &[u8]) -> Result<Option<usize>, Stop> {
    let number: i64 = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).ok_or(Stop::Garbled)?;
    if number == -1 {
        return Ok(None);
    }
    usize::try_from(number).map(Some).map_err(|_| Stop::Garbled)
}

fn blob<'a>(buffer: &'a [u8], at: &mut usize, length: Option<usize>) -> Result<Option<&'a [u8]>, Stop> {
    let Some(length) = length else {
        return Ok(None);
    };
    let bytes = buffer.get(*at..*at + length + 2).ok_or(Stop::Partial)?;
    *at += length + 2;
    Ok(Some(&bytes[..length]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whole_or_not_at_all() {
        let whole = b"*3\r\n$2\r\nab\r\n:7\r\n%1\r\n+k\r\n_\r\n";
        let text = |t: &str| Reply::Text(t.as_bytes().to_vec());
        let expected =
            Reply::Array(vec![text("ab"), Reply::Int(7), Reply::Array(vec![text("k"), Reply::Nil])]);
        assert_eq!(parse(whole), Parsed::Whole(expected, whole.len()));
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), Parsed::Partial, "{end} bytes");
        }
        assert_eq!(parse(b"-ERR no\r\n:1\r\n"), Parsed::Whole(Reply::Error("ERR no".into()), 9));
        assert_eq!(parse(b"hello\r\n"), Parsed::Garbled);
        assert_eq!(parse(b"$-1\r\n"), Parsed::Whole(Reply::Nil, 5));
    }

    #[test]
    fn a_request_reads_back_as_its_words() {
        let bytes = encode(&["SET", "a\r\nb", ""]);
        let words = vec![b"SET".to_vec(), b"a\r\nb".to_vec(), Vec::new()];
        assert_eq!(parse_request(&bytes), Parsed::Whole(words, bytes.len()));
    }
}
