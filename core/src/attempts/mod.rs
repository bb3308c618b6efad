//! Failed attempts: to log in, to redeem a code, to answer a challenge.
//!
//! Only failures count, and an attempt counts as failed from before it is made until it is said to have succeeded: so fifty
//! guesses at once are no more than fifty in a row. Three counters are kept, since each of them alone can be made use of:
//!
//! | counter | stops | and does not |
//! |---|---|---|
//! | of an account, from one network | guessing one password | lock the account's owner out, who comes from elsewhere |
//! | of a network, over all accounts | trying one password at many accounts | lock out owners who have logged in from there before |
//! | of an account, over all networks | guessing one password from many networks | lock out owners who come from a network from which they have logged in before |
//!
//! So to lock somebody out takes either a place in their own network, or as many failures as guessing takes.

mod attempt;
mod builder;
mod counted;
mod facade;

pub use self::attempt::Attempt;
pub use self::builder::AttemptsBuilder;
pub use self::facade::{Attempts, Begun, LockedOutBy};
