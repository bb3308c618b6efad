//! What the bytes of a request ask for, and of whom they are.

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// One of those of a caller, at this place.
    Command {
        caller: usize,
        at: usize,
    },
    Channels {
        caller: usize,
        names: Vec<String>,
        begins: bool,
    },
    Get(usize),
    Mget(Vec<usize>),
}

/// The first argument of a command.
pub(super) fn name(caller: usize, at: usize) -> String {
    format!("c{caller}.{at}")
}

/// The key that a caller reads.
pub(super) fn key(caller: usize) -> String {
    format!("r{caller}")
}

/// The command with which the bytes begin, and its length; `None` if it is not all there.
///
/// # Errors
/// If it is none that the callers send.
pub(super) fn first(bytes: &[u8]) -> Result<Option<(Asked, usize)>, String> {
    let mut at = 0;
    let Some(count) = number(bytes, &mut at, b'*')? else { return Ok(None) };
    let mut words = Vec::new();
    for _ in 0..count {
        let Some(length) = number(bytes, &mut at, b'$')? else { return Ok(None) };
        let Some(word) = bytes.get(at..at + length + 2) else { return Ok(None) };
        let word = word.strip_suffix(b"\r\n").ok_or_else(|| "a word that does not end".to_owned())?;
        words.push(word);
        at += length + 2;
    }
    let asked = asked(&words).ok_or_else(|| format!("no request: {:?}", text(words.first())))?;
    Ok(Some((asked, at)))
}

fn number(bytes: &[u8], at: &mut usize, first: u8) -> Result<Option<usize>, String> {
    let rest = &bytes[*at..];
    if rest.first().is_some_and(|found| *found != first) {
        return Err(format!("no request at {:?}", text(Some(&&rest[..rest.len().min(40)]))));
    }
    let Some(line) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let number = std::str::from_utf8(&rest[1..line]).ok().and_then(|line| line.trim_end().parse().ok());
    *at += line + 1;
    number.map(Some).ok_or_else(|| "a number that is none".to_owned())
}

fn text<'a>(word: Option<&&'a [u8]>) -> std::borrow::Cow<'a, str> {
    word.map(|word| String::from_utf8_lossy(word)).unwrap_or_default()
}

fn asked(words: &[&[u8]]) -> Option<Asked> {
    let (command, words) = words.split_first()?;
    let word = |at: usize| std::str::from_utf8(words.get(at)?).ok();
    let of = |word: &str| word.rsplit_once(':')?.1.strip_prefix('r')?.parse().ok();
    Some(match *command {
        b"SET" => {
            let (caller, at) = word(0)?.strip_prefix('c')?.split_once('.')?;
            Asked::Command { caller: caller.parse().ok()?, at: at.parse().ok()? }
        }
        b"SUBSCRIBE" | b"UNSUBSCRIBE" => {
            let names: Option<Vec<_>> = (0..words.len()).map(|at| word(at).map(ToOwned::to_owned)).collect();
            let (caller, _) = word(0)?.strip_prefix('c')?.split_once('.')?;
            let (caller, begins) = (caller.parse().ok()?, *command == b"SUBSCRIBE");
            Asked::Channels { caller, names: names?, begins }
        }
        b"GET" if words.len() == 1 => Asked::Get(of(word(0)?)?),
        b"MGET" => {
            let callers: Option<Vec<_>> = (0..words.len()).map(|at| of(word(at)?)).collect();
            Asked::Mget(callers.filter(|callers| !callers.is_empty())?)
        }
        _ => return None,
    })
}
