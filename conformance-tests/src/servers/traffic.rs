//! What was asked, as seen by something that stands in the way.

use super::resp::{self, Parsed};

/// How many requests are remembered, and how much of each.
const REMEMBERED: usize = 100_000;
const WORTH: usize = 1_024;

/// One request that went past.
#[derive(Debug)]
struct Request {
    /// The read that brought its last byte.
    read: u64,
    text: Vec<u8>,
}

/// The requests that went past, oldest first.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    requests: Vec<Request>,
    reads: u64,
}

impl Traffic {
    /// Says that bytes have come; what is recorded from here on came with them.
    pub(super) const fn next_read(&mut self) {
        self.reads += 1;
    }

    /// Remembers a request by its words.
    pub(super) fn record(&mut self, words: &[Vec<u8>]) {
        if self.requests.len() < REMEMBERED {
            let mut text = words.join(&b' ');
            text.truncate(WORTH);
            self.requests.push(Request { read: self.reads, text });
        }
    }

    /// How many requests contained this text.
    pub(super) fn count(&self, needle: &str) -> usize {
        self.matching(needle).count()
    }

    /// In how many reads they came: at most one per write of a client.
    pub(super) fn count_reads(&self, needle: &str) -> usize {
        let mut reads: Vec<u64> = self.matching(needle).map(|request| request.read).collect();
        reads.sort_unstable();
        reads.dedup();
        reads.len()
    }

    pub(super) fn forget(&mut self) {
        self.requests.clear();
    }

    fn matching(&self, needle: &str) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(move |request| contains(&request.text, needle))
    }
}

/// Whether a request contains this text, upper and lower case being the same.
pub(super) fn asks(words: &[Vec<u8>], needle: &str) -> bool {
    contains(&words.join(&b' '), needle)
}

fn contains(text: &[u8], needle: &str) -> bool {
    let needle = needle.as_bytes();
    needle.is_empty() || text.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
}

/// Takes every whole request off the front of a buffer. Bytes that are none are given up.
pub(super) fn take_requests(buffer: &mut Vec<u8>) -> Vec<Vec<Vec<u8>>> {
    let mut requests = Vec::new();
    loop {
        match resp::parse_request(buffer) {
            Parsed::Whole(words, used) => {
                buffer.drain(..used);
                requests.push(words);
            }
            Parsed::Partial => return requests,
            Parsed::Garbled => {
                buffer.clear();
                return requests;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_text_and_by_read() {
        let mut traffic = Traffic::default();
        let mut buffer = resp::encode(&["SET", "a", "1"]);
        buffer.extend(resp::encode(&["get", "a"]));
        buffer.extend_from_slice(b"*1\r\n$4\r\nPI");
        traffic.next_read();
        for words in take_requests(&mut buffer) {
            traffic.record(&words);
        }
        assert_eq!((traffic.count("GET"), traffic.count(" a"), traffic.count_reads("")), (1, 2, 1));
        assert_eq!(buffer, b"*1\r\n$4\r\nPI");
        traffic.forget();
        assert_eq!(traffic.count(""), 0);
    }
}
