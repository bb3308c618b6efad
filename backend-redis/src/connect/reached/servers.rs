//! Which server each connection has reached, and which of them have to leave theirs.

use std::time::Duration;

use stanchion::time::Monotonic;

use crate::connect::purpose::Purpose;
use crate::connect::server_info::ServerId;

/// Commands are moved to the server of another connection no more often than this: where an address leads now here, now
/// there, that is no failover, and calls go on.
const COMMANDS_MOVE_EVERY: Duration = Duration::from_secs(30);

/// A reply that says that the server is a replica gives connections up no more often than this, whichever of them it came by:
/// whoever answers it may be no replica, but something in front of a server.
const DOUBTED_EVERY: Duration = Duration::from_secs(5);

/// The connections of a backend to one server, commands, subscriptions and invalidations, all of which have to be at the same
/// one: a change that is made at one server sends no invalidation from another, and an event that is published there does not
/// arrive.
///
/// Where they differ, the connection that was begun last is right, since it has looked its address up last. `C` is a handle by
/// which a connection is given up.
#[derive(Debug)]
pub(super) struct ReachedServers<C> {
    reached: Vec<Reached<C>>,
    commands_moved_at: Option<Monotonic>,
    // When connections were given up because a reply said that the server is a replica.
    doubted_at: Option<Monotonic>,
}

/// A connection, and the server that it has reached.
#[derive(Debug, Clone)]
pub(super) struct Reached<C> {
    /// Whose connection it is; there is one in use for each.
    pub(super) node: u64,
    /// A later one is larger.
    pub(super) generation: u64,
    pub(super) purpose: Purpose,
    /// `None` if the server does not say.
    pub(super) server: Option<ServerId>,
    pub(super) connection: C,
}

/// This connection must not be used: others are at another server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IsElsewhere;

impl<C> Default for ReachedServers<C> {
    fn default() -> Self {
        Self { reached: Vec::new(), commands_moved_at: None, doubted_at: None }
    }
}

impl<C> ReachedServers<C> {
    /// A connection is about to be used. Answers those that have to be given up before it is.
    pub(super) fn arrives(
        &mut self,
        new: Reached<C>,
        now: Monotonic,
    ) -> Result<Vec<Reached<C>>, IsElsewhere> {
        self.reached.retain(|other| other.node != new.node);
        let elsewhere =
            |other: &&Reached<C>| matches!((&other.server, &new.server), (Some(a), Some(b)) if a != b);
        let mut others = self.reached.iter().filter(elsewhere);
        if others.clone().any(|other| other.generation > new.generation) {
            return Err(IsElsewhere);
        }
        if others.any(|other| other.purpose == Purpose::Commands) {
            let rests = |moved_at| now.saturating_since(moved_at) < COMMANDS_MOVE_EVERY;
            if self.commands_moved_at.is_some_and(rests) {
                return Err(IsElsewhere);
            }
            self.commands_moved_at = Some(now);
        }
        // Where a server does not say which it is, commands that are connected anew may be at another one.
        let in_doubt = |other: &Reached<C>| {
            new.purpose == Purpose::Commands && (other.server.is_none() || new.server.is_none())
        };
        let leaves = |other: &mut Reached<C>| {
            elsewhere(&&*other) || (in_doubt(other) && other.generation < new.generation)
        };
        let leaving = self.reached.extract_if(.., leaves).collect();
        self.reached.push(new);
        Ok(leaving)
    }

    /// The server of this connection is found to be a replica. Answers the connections to the same server, all of which have to
    /// be given up; none if this one is not in use any more.
    pub(super) fn is_replica(&mut self, node: u64, generation: u64) -> Vec<Reached<C>> {
        let is_this = |other: &Reached<C>| other.node == node && other.generation == generation;
        let Some(this) = self.reached.iter().find(|other| is_this(other)) else { return Vec::new() };
        let server = this.server.clone();
        let is_there =
            |other: &mut Reached<C>| is_this(other) || (server.is_some() && other.server == server);
        self.reached.extract_if(.., is_there).collect()
    }

    /// A reply on this connection says that the server is a replica. As [`is_replica`](Self::is_replica), now and then.
    pub(super) fn says_it_is_a_replica(
        &mut self,
        node: u64,
        generation: u64,
        now: Monotonic,
    ) -> Vec<Reached<C>> {
        if self.doubted_at.is_some_and(|at| now.saturating_since(at) < DOUBTED_EVERY) {
            return Vec::new();
        }
        let leaving = self.is_replica(node, generation);
        if !leaving.is_empty() {
            self.doubted_at = Some(now);
        }
        leaving
    }

    /// This connection is not in use any more; it is handed back.
    pub(super) fn leaves(&mut self, node: u64, generation: u64) -> Option<Reached<C>> {
        let is_this = |other: &Reached<C>| other.node == node && other.generation == generation;
        self.reached.iter().position(is_this).map(|at| self.reached.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PURPOSES: [Purpose; 3] = [Purpose::Commands, Purpose::Subscriptions, Purpose::Invalidations];
    const A: Option<&str> = Some("server a");
    const B: Option<&str> = Some("server b");

    /// Commands are node 0, subscriptions 1, invalidations 2.
    fn connection(node: u64, generation: u64, server: Option<&str>) -> Reached<u64> {
        let purpose = PURPOSES[usize::try_from(node).unwrap()];
        Reached { node, generation, purpose, server: server.map(ServerId::of), connection: node }
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    fn arrives(
        servers: &mut ReachedServers<u64>,
        (node, generation, server): (u64, u64, Option<&str>),
        seconds: u64,
    ) -> Result<Vec<u64>, IsElsewhere> {
        let leaving = servers.arrives(connection(node, generation, server), at(seconds))?;
        Ok(leaving.into_iter().map(|left| left.connection).collect())
    }

    fn all_at(server: Option<&str>) -> ReachedServers<u64> {
        let mut servers = ReachedServers::default();
        for node in 0..3 {
            assert_eq!(arrives(&mut servers, (node, node + 1, server), 0), Ok(Vec::new()));
        }
        servers
    }

    #[test]
    fn the_others_follow_commands() {
        let mut servers = all_at(A);
        servers.leaves(0, 1);
        assert_eq!(arrives(&mut servers, (0, 4, B), 0), Ok(vec![1, 2]));
        assert_eq!(arrives(&mut servers, (1, 5, B), 0), Ok(vec![]));
        // Its address was looked up before.
        assert_eq!(arrives(&mut servers, (2, 3, A), 0), Err(IsElsewhere));
        assert_eq!(arrives(&mut servers, (2, 6, B), 0), Ok(vec![]));
    }

    #[test]
    fn commands_follow_the_others_now_and_then() {
        let mut servers = all_at(A);
        assert_eq!(arrives(&mut servers, (2, 4, B), 100), Ok(vec![0, 1]));
        assert_eq!(arrives(&mut servers, (0, 5, A), 101), Ok(vec![2]), "it leads back");
        assert_eq!(arrives(&mut servers, (2, 6, B), 129), Err(IsElsewhere), "calls go on");
        assert_eq!(arrives(&mut servers, (2, 7, A), 129), Ok(vec![]));
        assert_eq!(arrives(&mut servers, (1, 8, B), 131), Ok(vec![0, 2]));
    }

    #[test]
    fn without_commands_the_newest_is_right() {
        let mut servers = all_at(A);
        servers.leaves(0, 1);
        assert_eq!(arrives(&mut servers, (1, 4, B), 0), Ok(vec![2]));
        assert_eq!(arrives(&mut servers, (0, 5, B), 0), Ok(vec![]));
        servers.leaves(1, 3);
        assert_eq!(servers.is_replica(1, 4).len(), 2, "an earlier one of its node had left before");
    }

    #[test]
    fn a_reply_that_speaks_of_a_replica_counts_now_and_then_whichever_connection_it_comes_by() {
        let mut servers = all_at(A);
        let says = |servers: &mut ReachedServers<u64>, node, generation, seconds| {
            servers.says_it_is_a_replica(node, generation, at(seconds)).len()
        };
        assert_eq!(says(&mut servers, 0, 9, 0), 0, "that one is not in use");
        assert_eq!(says(&mut servers, 0, 1, 0), 3);
        for node in 0..3 {
            assert_eq!(arrives(&mut servers, (node, node + 4, A), 0), Ok(Vec::new()));
        }
        assert_eq!(says(&mut servers, 0, 4, 4), 0);
        assert_eq!(says(&mut servers, 1, 5, 4), 0, "nor by another connection");
        assert_eq!(says(&mut servers, 1, 5, 5), 3);
    }

    #[test]
    fn a_server_that_is_unknown_may_be_another_one() {
        let mut servers = all_at(None);
        assert_eq!(arrives(&mut servers, (1, 4, None), 0), Ok(vec![]));
        assert_eq!(arrives(&mut servers, (0, 5, None), 0), Ok(vec![2, 1]), "both were there before");
        assert_eq!(arrives(&mut servers, (1, 7, None), 0), Ok(vec![]));
        assert_eq!(arrives(&mut servers, (0, 6, None), 0), Ok(vec![]), "it began before");
        assert_eq!(servers.is_replica(0, 6).len(), 1, "of the others nobody knows");
    }

    #[test]
    fn a_replica_is_left_by_all() {
        let mut servers = all_at(A);
        assert!(servers.is_replica(2, 9).is_empty(), "it is another connection by now");
        let left: Vec<_> = servers.is_replica(2, 3).into_iter().map(|left| left.connection).collect();
        assert_eq!(left, [0, 1, 2]);
        assert!(servers.is_replica(0, 1).is_empty());
    }

    proptest! {
        #[test]
        fn those_in_use_are_at_one_server(
            steps in prop::collection::vec((0..3_u64, 0..4_u64, 0..3_usize, 0..20_u64), 1..60)
        ) {
            let (mut servers, mut generation, mut now) = (ReachedServers::default(), 10, 0);
            for (node, back, server, later) in steps {
                (generation, now) = (generation + 1, now + later);
                let server = ["a", "b", "c"][server];
                // One that was begun before others may arrive after them.
                let new = connection(node, generation * 4 - back * 5, Some(server));
                let before = servers.reached.len();
                match servers.arrives(new, at(now)) {
                    Ok(_) => prop_assert!(servers.reached.iter().any(|one| one.node == node)),
                    Err(IsElsewhere) => prop_assert!(servers.reached.len() <= before),
                }
                let first = servers.reached.first().map(|one| one.server.clone());
                prop_assert!(servers.reached.iter().all(|one| Some(&one.server) == first.as_ref()));
            }
        }
    }
}
