//! Revoked tokens and epochs.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::select;
use stanchion::Result;
use stanchion::key::Name;
use stanchion::time::Timestamp;
use stanchion::token::{Epoch, Mark, Reason, Scope, TokenFacts, TokenSettings, TokenStore, Verdict};

use super::Answer;
use super::answer::{Grown, Rank};
use super::step::Hours;

/// An operation of a [`TokenStore`].
#[derive(Debug, Clone)]
pub enum Operation {
    Revoke {
        service: &'static str,
        jti: &'static str,
        ttl: Hours,
    },
    RevokeAll {
        service: &'static str,
        scope: Scope,
        ttl: Hours,
    },
    Epochs {
        service: &'static str,
        scopes: Vec<Scope>,
    },
    /// Reads the epochs of these scopes, as an issuer does, and keeps them for a token of this number.
    Issue {
        service: &'static str,
        number: usize,
        scopes: Vec<Scope>,
    },
    Check {
        service: &'static str,
        jti: &'static str,
        token: Token,
    },
    Agree {
        service: &'static str,
        life: Option<Hours>,
        issuer: Option<&'static str>,
        before: Option<Hours>,
    },
    Floor {
        service: &'static str,
    },
}

/// Which token is checked.
#[derive(Debug, Clone)]
pub enum Token {
    /// The one that was issued under this number; without any scope if there was none.
    Issued(usize),
    /// One of another issuer, in these scopes: issued long ago, or in the far future.
    Foreign(Vec<Scope>, bool),
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    epochs: HashMap<(String, Scope), Grown>,
    issued: HashMap<(String, usize), Vec<(Scope, Epoch)>>,
}

pub(super) fn operation() -> impl Strategy<Value = Operation> + Clone {
    let service = || select(&["auth", "auth", "shop"][..]);
    let jti = || select(&["j1", "j2", "j{3}", ""][..]);
    let scope = || {
        prop_oneof![
            2 => Just(Scope::Service),
            3 => select(&["u1", "u2", ""][..]).prop_map(|id| Scope::User(id.to_owned())),
            1 => Just(Scope::Session("u1".to_owned())),
            1 => Just(Scope::Client("u1".to_owned())),
        ]
    };
    let scopes = || prop::collection::vec(scope(), 0..4);
    let many = || prop_oneof![9 => scopes(), 1 => prop::collection::vec(scope(), 8..10)];
    let token = prop_oneof![
        3 => (0..3_usize).prop_map(Token::Issued),
        1 => (many(), any::<bool>()).prop_map(|(scopes, future)| Token::Foreign(scopes, future)),
    ];
    let issuer = select(&["me", "you", "a {b}", ""][..]);
    prop_oneof![
        1 => (service(), jti(), Hours::any()).prop_map(|(service, jti, ttl)| Operation::Revoke { service, jti, ttl }),
        3 => (service(), scope(), Hours::any())
            .prop_map(|(service, scope, ttl)| Operation::RevokeAll { service, scope, ttl }),
        2 => (service(), scopes()).prop_map(|(service, scopes)| Operation::Epochs { service, scopes }),
        3 => (service(), 0..3_usize, scopes())
            .prop_map(|(service, number, scopes)| Operation::Issue { service, number, scopes }),
        4 => (service(), jti(), token).prop_map(|(service, jti, token)| Operation::Check { service, jti, token }),
        1 => (service(), prop::option::of(Hours::any()), prop::option::of(issuer), prop::option::of(Hours::any()))
            .prop_map(|(service, life, issuer, before)| Operation::Agree { service, life, issuer, before }),
        1 => service().prop_map(|service| Operation::Floor { service }),
    ]
}

impl Memory {
    fn rank(&self, service: &str, scope: &Scope, epoch: Epoch) -> Rank {
        match self.epochs.get(&(service.to_owned(), scope.clone())) {
            _ if epoch == Epoch::NEVER => Rank::None,
            Some(grown) => grown.rank(epoch.get()),
            None => Rank::Unknown,
        }
    }

    fn ranks(&self, service: &str, scopes: &[Scope], epochs: &[Epoch]) -> Answer {
        let ranks = scopes.iter().zip(epochs).map(|(scope, epoch)| self.rank(service, scope, *epoch));
        Answer::Ranks(ranks.collect())
    }

    fn marks(&self, service: &str, token: &Token) -> Vec<(Scope, Mark)> {
        match token {
            Token::Issued(number) => {
                let issued = self.issued.get(&(service.to_owned(), *number)).map(Vec::as_slice);
                let marks = issued.unwrap_or_default().iter();
                marks.map(|(scope, epoch)| (scope.clone(), Mark::Epoch(*epoch))).collect()
            }
            Token::Foreign(scopes, future) => {
                // 1970 or 2096.
                let issued = Timestamp::from_secs(if *future { 4_000_000_000 } else { 1 });
                scopes.iter().map(|scope| (scope.clone(), Mark::IssuedAt(issued))).collect()
            }
        }
    }
}

pub(super) async fn run(
    operation: &Operation,
    tokens: &dyn TokenStore,
    memory: &mut Memory,
) -> Result<Answer> {
    Ok(match operation {
        Operation::Revoke { service, jti, ttl } => {
            tokens.revoke(&Name::new(service)?, jti, ttl.ttl()).await?;
            Answer::Done
        }
        Operation::RevokeAll { service, scope, ttl } => {
            let epoch = tokens.revoke_all(&Name::new(service)?, scope, ttl.ttl()).await?;
            let grown = memory.epochs.entry(((*service).to_owned(), scope.clone())).or_default();
            Answer::Ranks(vec![grown.next(epoch.get())])
        }
        Operation::Epochs { service, scopes } => {
            let epochs = tokens.epochs(&Name::new(service)?, scopes).await?;
            memory.ranks(service, scopes, &epochs)
        }
        Operation::Issue { service, number, scopes } => {
            let epochs = tokens.epochs(&Name::new(service)?, scopes).await?;
            let marks = scopes.iter().cloned().zip(epochs.iter().copied()).collect();
            memory.issued.insert(((*service).to_owned(), *number), marks);
            memory.ranks(service, scopes, &epochs)
        }
        Operation::Agree { service, life, issuer, before } => {
            let mut ours = TokenSettings::new();
            ours.max_life = life.map(Hours::ttl);
            ours.issuer = issuer.map(str::to_owned);
            let before = before.map(Hours::ttl);
            Answer::Verdict(format!("{:?}", tokens.agree(&Name::new(service)?, &ours, before).await?))
        }
        Operation::Floor { service } => {
            let epoch = tokens.floor(&Name::new(service)?).await?;
            let grown = memory.epochs.entry(((*service).to_owned(), Scope::Service)).or_default();
            Answer::Ranks(vec![match grown.rank(epoch.get()) {
                Rank::Unknown => grown.next(epoch.get()),
                known => known,
            }])
        }
        Operation::Check { service, jti, token } => {
            let facts = TokenFacts::new(*jti, memory.marks(service, token));
            Answer::Verdict(match tokens.check(&Name::new(service)?, &facts).await? {
                Verdict::Active => "active".to_owned(),
                Verdict::Revoked(Reason::Token) => "this token".to_owned(),
                Verdict::Revoked(Reason::Scope(scope)) => format!("{scope:?}"),
                Verdict::Revoked(other) => format!("{other:?}"),
            })
        }
    })
}
