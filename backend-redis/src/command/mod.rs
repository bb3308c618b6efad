//! Commands, before they are sent: the operation that they belong to, the slot, and the scripts among them.

mod call;
mod routed;
mod script;
mod slot;

pub(crate) use self::call::{Call, Lane};
pub(crate) use self::routed::{Route, Routed, get};
pub(crate) use self::script::{Part, Script, Scripts, Step};
pub(crate) use self::slot::{slot, slot_of_parts};
