//! Asking sentinels for the master, all at once.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::{Pipeline, Value};
use stanchion::{Error, ErrorKind, Result};

use super::decision::{Address, Answer, is_majority};
use super::{Sentinels, failure, reached};
use crate::connect::connection::Connection;
use crate::error::{self, Access};
use crate::reply;

/// How long the others are waited for once a majority has answered: one of them may know of a failover before it does.
const GRACE: Duration = Duration::from_millis(50);
/// What sentinels name of others is not followed without end.
const MOST: usize = 32;

/// What one sentinel has replied.
pub(super) enum Said {
    Master(Answer, Vec<Address>),
    /// It watches none of this name.
    NoMaster,
}

impl Sentinels {
    /// What those say that answer within the deadline; not all are waited for once a majority has.
    ///
    /// # Errors
    /// None of them names a master.
    pub(super) async fn ask_all(&self) -> Result<Vec<Answer>> {
        let addresses = self.addresses();
        let mut asking: FuturesUnordered<_> = addresses
            .iter()
            .map(|address| async move { (address.clone(), self.ask(address).await) })
            .collect();
        let (mut answers, mut found, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let mut collect = async |until_majority: bool| {
            while let Some((address, said)) = asking.next().await {
                match said {
                    Ok(Said::Master(answer, others)) => {
                        found.extend([address].into_iter().chain(others));
                        answers.push(answer);
                    }
                    Ok(Said::NoMaster) => failed.push((address, None)),
                    Err(error) => failed.push((address, Some(error))),
                }
                if until_majority && is_majority(&answers) {
                    return;
                }
            }
        };
        // Whoever is late has no answer.
        let _ = tokio::time::timeout(self.context.deadline, collect(true)).await;
        let _ = tokio::time::timeout(GRACE, collect(false)).await;
        if answers.is_empty() {
            let late = addresses.iter().filter(|address| failed.iter().all(|(other, _)| other != *address));
            let timed_out = error::timed_out(self.context.deadline, Access::Read);
            let late: Vec<_> = late.map(|address| (address.clone(), Some(timed_out.clone()))).collect();
            failed.extend(late);
            return Err(failure::of(&self.name, &failed));
        }
        found.sort();
        found.dedup();
        found.truncate(MOST);
        self.found(found);
        Ok(answers)
    }

    async fn ask(&self, address: &Address) -> Result<Said> {
        let at = reached(address.clone(), self.has_tls);
        let connection =
            Connection::open_sentinel(&at, self.credentials.as_ref(), None, &self.context).await?;
        let mut requests = Pipeline::with_capacity(4);
        // In this order: an epoch that is older than the address does no harm.
        requests.cmd("SENTINEL").arg("MASTER").arg(&*self.name);
        requests.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&*self.name);
        requests.cmd("SENTINEL").arg("SENTINELS").arg(&*self.name);
        requests.cmd("SENTINEL").arg("MYID");
        let replies = connection.pipeline(&requests, Access::Read).await?;
        let mut replies = replies.into_iter();
        let mut next = || replies.next().unwrap_or(Value::Nil);
        let (state, address_now, others, id) = (next(), next(), next(), next());
        let Some(master) = address_in(reply::checked(address_now, Access::Read)?)? else {
            return Ok(Said::NoMaster);
        };
        let state = reply::checked(state, Access::Read)?;
        let number = |name| field(&state, name).and_then(|text| text.parse().ok());
        let epoch = number("config-epoch").ok_or_else(unreadable)?;
        let others: Vec<_> =
            reply::array(others).into_iter().flatten().filter_map(|one| listed(&one)).collect();
        let known = number("num-other-sentinels").and_then(|count| usize::try_from(count).ok());
        let answer = Answer {
            // A version that does not say it is known by its address.
            sentinel: reply::text(id).unwrap_or_else(|| format!("{}:{}", address.0, address.1)),
            address: master,
            epoch,
            others: known.unwrap_or(others.len()),
        };
        Ok(Said::Master(answer, others))
    }

    /// What the sentinel at the other end says now.
    pub(super) async fn master_by(&self, connection: &Connection) -> Result<Option<Address>> {
        let request = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&*self.name).take();
        let asking = connection.command(&request, Access::Read);
        let reply = tokio::time::timeout(self.context.deadline, asking).await;
        address_in(reply.unwrap_or_else(|_| Err(error::timed_out(self.context.deadline, Access::Read)))?)
    }
}

fn unreadable() -> Error {
    Error::new(ErrorKind::Unavailable, "what it says of the master can't be read")
}

/// Host and port of a master; `None` where there is none of the name.
fn address_in(reply: Value) -> Result<Option<Address>> {
    if reply == Value::Nil {
        return Ok(None);
    }
    let mut parts = reply::array(reply).ok_or_else(unreadable)?.into_iter().map(reply::text);
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(host), Some(port)) => address(host, &port).map(Some).ok_or_else(unreadable),
        _ => Err(unreadable()),
    }
}

fn address(host: String, port: &str) -> Option<Address> {
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then_some((host, port))
}

/// One of the others in a reply to `SENTINEL SENTINELS`.
fn listed(reply: &Value) -> Option<Address> {
    address(field(reply, "ip")?, &field(reply, "port")?)
}

/// A field of a map, or of a list in which names and values alternate.
fn field(reply: &Value, name: &str) -> Option<String> {
    let is_it = |key: &Value| reply::text(key.clone()).as_deref() == Some(name);
    let value = match reply {
        Value::Map(fields) => fields.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value),
        Value::Array(items) => items.chunks_exact(2).find(|pair| is_it(&pair[0])).map(|pair| &pair[1]),
        _ => None,
    };
    reply::text(value?.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Value {
        redis::parse_redis_value(text.replace('\n', "\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn an_address_is_read_as_it_is_given_or_not_at_all() {
        let of = |text| address_in(parsed(text));
        assert_eq!(of("*2\n$7\nredis-0\n$4\n6379\n").unwrap(), Some(("redis-0".to_owned(), 6379)));
        assert_eq!(of("_\n").unwrap(), None);
        for odd in [
            "+OK\n",
            "*0\n",
            "*1\n$1\nx\n",
            "*2\n$1\nx\n$1\n0\n",
            "*2\n$0\n\n$1\n1\n",
            "*2\n$1\nx\n$5\n70000\n",
        ] {
            assert_eq!(of(odd).unwrap_err().kind(), ErrorKind::Unavailable, "{odd}");
        }
    }

    #[test]
    fn fields_are_read_from_a_map_and_from_a_list() {
        for form in ["%2", "*4"] {
            let one = parsed(&format!("{form}\n$2\nip\n$3\n::1\n$4\nport\n$5\n26379\n"));
            assert_eq!(listed(&one), Some(("::1".to_owned(), 26_379)), "{form}");
            assert_eq!(field(&one, "runid"), None);
        }
        for odd in ["*1\n$2\nip\n", "+OK\n", "*0\n"] {
            assert_eq!(listed(&parsed(odd)), None, "{odd}");
        }
    }
}
