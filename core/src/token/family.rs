//! Families of refresh tokens, as they are stored: what follows from one log-in.
//!
//! A refresh token is 48 random bytes: 16 that all tokens of its family begin with, and 32 of its own. Stored are only hashes: the
//! [`FamilyId`] of the first, under which the family is found, and a [`RefreshHash`] of the second. So somebody who has never had
//! a token of a family can't find it, and whoever finds it with anything but its current token has an old one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::key::Name;
use crate::time::Ttl;

/// The most bytes that a family may carry: 4 KiB.
pub const MAX_FAMILY_DATA: usize = 4 * 1024;

macro_rules! hashes {
    ($($(#[$doc:meta])* $name:ident, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// From the bytes of a hash.
            pub const fn new(hash: [u8; 32]) -> Self {
                Self(hash)
            }
        }

        impl fmt::Display for $name {
            /// 43 characters of base64url.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let mut bytes = [0; 32];
                match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
                    Ok(32) => Ok(Self(bytes)),
                    _ => Err(Error::invalid(concat!("not ", $what))),
                }
            }
        }
    )*};
}

hashes! {
    /// The public name of a family: safe to store, log, and show. Nobody can find the family's tokens by it.
    FamilyId, "the id of a family of refresh tokens";
    /// The hash of what a refresh token has of its own.
    RefreshHash, "the hash of a refresh token";
    /// What a successor was derived with from the token before it: random, and of no use without that token.
    Salt, "a salt";
}

impl Salt {
    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A family to be opened, with its first token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewFamily {
    /// Its name.
    pub id: FamilyId,
    /// Its first token.
    pub current: RefreshHash,
    /// What the façade keeps with it; at most [`MAX_FAMILY_DATA`].
    pub data: Bytes,
    /// How long it lives without being rotated.
    pub idle: Ttl,
    /// How long it lives at most.
    pub absolute: Ttl,
}

impl NewFamily {
    /// A family of this name, token, data and these lives.
    pub const fn new(id: FamilyId, current: RefreshHash, data: Bytes, idle: Ttl, absolute: Ttl) -> Self {
        Self { id, current, data, idle, absolute }
    }

    /// Refuses what no backend checks: too much data.
    pub fn check(&self) -> Result<()> {
        if self.data.len() > MAX_FAMILY_DATA {
            let length = self.data.len();
            return Err(Error::invalid(format!("a family carries {MAX_FAMILY_DATA} bytes, got {length}")));
        }
        Ok(())
    }
}

/// A token is presented, and a successor is offered for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotation {
    /// The family that the token names.
    pub id: FamilyId,
    /// The token.
    pub presented: RefreshHash,
    /// What takes its place if it is the current one.
    pub successor: RefreshHash,
    /// What the successor was derived with.
    pub salt: Salt,
    /// For how long after it was rotated a token is still answered, in whole milliseconds.
    pub grace: Duration,
    /// How long the family lives from now without being rotated again, but no longer than it may at most.
    pub idle: Ttl,
}

impl Rotation {
    /// This token of this family; see the fields.
    pub const fn new(
        id: FamilyId,
        presented: RefreshHash,
        successor: RefreshHash,
        salt: Salt,
        grace: Duration,
        idle: Ttl,
    ) -> Self {
        Self { id, presented, successor, salt, grace, idle }
    }
}

/// What came of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RotateOutcome {
    /// The token was the current one; its successor is now. Of any number of rotations of one token this is answered to one.
    Rotated {
        /// What was stored with the family.
        data: Bytes,
        /// How long the family lives from now without being rotated again.
        left: Ttl,
    },
    /// The token is the one before the current, and was rotated within the grace. Nothing was changed.
    Repeated {
        /// What was stored with the family.
        data: Bytes,
        /// What its successor, the current token, was derived with.
        salt: Salt,
        /// How long the family lives from now without being rotated again.
        left: Ttl,
    },
    /// The token is an old one, or none of the family's: somebody has what they should not. The family has ended with this answer.
    Reused {
        /// What was stored with the family.
        data: Bytes,
    },
    /// There is no such family, or no more. Nothing was written.
    Gone,
}

/// An optional part of a [`TokenStore`](super::TokenStore): families of refresh tokens. Services use
/// [`Tokens`](super::Tokens) instead.
///
/// # Contract
/// - A rotation is one step: of any number of rotations of the current token, through any handles and processes, exactly one is
///   [`Rotated`](RotateOutcome::Rotated); the others find it rotated.
/// - Nothing brings back a family that has ended: not a rotation that was in flight, and not a later one.
/// - What finds no family writes nothing.
/// - A family ends when it was not rotated for its idle time, and once its absolute time is over, however often it was rotated.
///   Times are the store's.
/// - A step of the store's wall clock prolongs the grace, and the lives, by no more than the step.
/// - Data over [`MAX_FAMILY_DATA`] bytes is `InvalidInput`.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done.
#[async_trait]
pub trait RefreshFamilies: Send + Sync {
    /// Opens a family; `false`, and nothing changed, if there is one of this name.
    async fn open_family(&self, service: &Name, family: &NewFamily) -> Result<bool>;

    /// Presents a token, and puts its successor in its place if it is the current one.
    async fn rotate(&self, service: &Name, rotation: &Rotation) -> Result<RotateOutcome>;

    /// Ends a family; answers what was stored with it, or `None` if there was none.
    async fn end_family(&self, service: &Name, id: &FamilyId) -> Result<Option<Bytes>>;
}
