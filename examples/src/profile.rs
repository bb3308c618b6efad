//! What both services know of a user: the contract between them.

use serde::{Deserialize, Serialize};

/// A user as others may see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// The name they log in with, and their id everywhere.
    pub(crate) id: String,
    #[serde(flatten)]
    pub(crate) details: Details,
}

/// What a user can change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Details {
    pub(crate) name: String,
    pub(crate) city: String,
}

impl Details {
    /// The names of the fields that differ.
    pub(crate) fn changed(&self, before: &Self) -> Vec<String> {
        let fields = [("name", self.name != before.name), ("city", self.city != before.city)];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field.to_owned()).collect()
    }
}
