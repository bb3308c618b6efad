//! What a server replies, and what that is for the caller.

use redis::Value;
use stanchion::ErrorKind;

use super::caller::ReadOutcome;
use super::step::Form;

/// A string.
pub(super) fn string(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

/// A name, filled up to so many bytes: whose value it is can be seen.
pub(super) fn filled(name: &str, size: usize) -> Vec<u8> {
    // Bytes that would be something else between two replies.
    let filling = b"\r\n$5\r\n*2\r\n>+-_";
    let mut text = [name.as_bytes(), &filling.repeat(size / filling.len() + 1)].concat();
    text.truncate(size.max(name.len()));
    text
}

/// The reply to a command of this name.
pub(super) fn to_command(name: &str, form: Form, size: usize) -> Vec<u8> {
    match form {
        Form::Text(_) => string(&filled(name, size)),
        Form::Nil => b"_\r\n".to_vec(),
        Form::Refused => format!("-ERR {name} refused\r\n").into_bytes(),
        Form::Denied => format!("-NOPERM {name}\r\n").into_bytes(),
        Form::Loading => format!("-LOADING {name}\r\n").into_bytes(),
        Form::Other(which) => other(name, which).into_bytes(),
    }
}

fn other(name: &str, which: u8) -> String {
    let length = name.len();
    match which % 16 {
        0 => format!("+{name}\r\n"),
        1 => format!(":{length}\r\n"),
        2 => format!("*2\r\n+{name}\r\n*1\r\n:5\r\n"),
        3 => format!("%1\r\n+{name}\r\n~2\r\n#t\r\n$-1\r\n"),
        4 => format!("~2\r\n+{name}\r\n_\r\n"),
        5 => ",1.5\r\n".to_owned(),
        6 => "#f\r\n".to_owned(),
        7 => format!("={}\r\ntxt:{name}\r\n", length + 4),
        8 => "(3492890328409238509324850943850943825024385\r\n".to_owned(),
        9 => format!("!{}\r\nERR {name}\r\n", length + 4),
        10 => "*0\r\n".to_owned(),
        11 => "*-1\r\n".to_owned(),
        12 => "$-1\r\n".to_owned(),
        13 => format!("|1\r\n+said\r\n%1\r\n+{name}\r\n,0.5\r\n*1\r\n+{name}\r\n"),
        14 => "$0\r\n\r\n".to_owned(),
        _ => "+OK\r\n".to_owned(),
    }
}

/// The reply to the read of one key.
pub(super) fn to_get(name: &str, form: Form, size: usize) -> (Vec<u8>, ReadOutcome) {
    let failed = |text: String, kind| (text.into_bytes(), ReadOutcome::Failed(kind));
    match form {
        Form::Text(_) => found(name, size),
        Form::Nil => (b"$-1\r\n".to_vec(), ReadOutcome::Nothing),
        Form::Refused => failed(format!("-WRONGTYPE {name}\r\n"), ErrorKind::Codec),
        Form::Denied => failed(format!("-NOPERM {name}\r\n"), ErrorKind::Denied),
        Form::Loading => failed(format!("-LOADING {name}\r\n"), ErrorKind::Unavailable),
        Form::Other(which) => match which % 4 {
            0 => (format!("+{name}\r\n").into_bytes(), ReadOutcome::Found(name.as_bytes().to_vec())),
            1 => failed(":7\r\n".to_owned(), ErrorKind::Internal),
            2 => (b"_\r\n".to_vec(), ReadOutcome::Nothing),
            _ => failed(format!("*1\r\n+{name}\r\n"), ErrorKind::Internal),
        },
    }
}

fn found(name: &str, size: usize) -> (Vec<u8>, ReadOutcome) {
    let text = filled(name, size);
    (string(&text), ReadOutcome::Found(text))
}

/// The reply to the read of many keys: what comes first, and the values of each.
pub(super) fn to_mget(names: &[String], form: Form, size: usize) -> (Vec<u8>, Vec<(Vec<u8>, ReadOutcome)>) {
    let failed = |text: String, outcome: ReadOutcome| {
        // It is each one's.
        (text.into_bytes(), vec![(Vec::new(), outcome); names.len()])
    };
    let bits = match form {
        Form::Text(bits) => bits,
        Form::Nil => 0,
        Form::Refused => {
            return failed("-ERR refused\r\n".to_owned(), ReadOutcome::Failed(ErrorKind::Internal));
        }
        Form::Denied => return failed("-NOPERM for one\r\n".to_owned(), ReadOutcome::AskAgain),
        Form::Loading => {
            return failed("-LOADING\r\n".to_owned(), ReadOutcome::Failed(ErrorKind::Unavailable));
        }
        Form::Other(which) => {
            let less = format!("*{}\r\n{}", names.len() - 1, "_\r\n".repeat(names.len() - 1));
            let text = [less, "+OK\r\n".to_owned(), "*-1\r\n".to_owned(), "_\r\n".to_owned()];
            let text = text.into_iter().nth(usize::from(which) % 4).unwrap_or_default();
            return failed(text, ReadOutcome::Failed(ErrorKind::Internal));
        }
    };
    let values = names.iter().enumerate().map(|(at, name)| {
        if bits >> (at % 64) & 1 == 1 {
            found(name, size)
        } else {
            // It may be another type, which `MGET` does not say.
            (b"_\r\n".to_vec(), ReadOutcome::AskAgain)
        }
    });
    (format!("*{}\r\n", names.len()).into_bytes(), values.collect())
}

/// That a subscription has begun or ended.
pub(super) fn confirmation(begins: bool, channel: &str) -> Vec<u8> {
    let kind = if begins { "subscribe" } else { "unsubscribe" };
    format!(">3\r\n${}\r\n{kind}\r\n${}\r\n{channel}\r\n:1\r\n", kind.len(), channel.len()).into_bytes()
}

/// A message that is a reply to nothing.
pub(super) fn pushed(kind: u8, name: &str, size: usize) -> Vec<u8> {
    let text = string(&filled(name, size));
    match kind % 4 {
        0 => [b">2\r\n$10\r\ninvalidate\r\n*1\r\n", &text[..]].concat(),
        1 => b">2\r\n$10\r\ninvalidate\r\n_\r\n".to_vec(),
        2 => [b">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n", &text[..]].concat(),
        _ => [b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n", &text[..]].concat(),
    }
}

/// As the client crate reads it.
pub(super) fn value(reply: &[u8]) -> Value {
    redis::parse_redis_value(reply).expect("the model writes what can be read")
}
