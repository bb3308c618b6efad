//! Changes that this process makes itself.

use super::fence::Fence;
use crate::changes::ChangeWatcher;

/// Counts a change when it is over, also where its caller has left: whether it was done is not known then.
#[must_use = "the change counts when this is dropped"]
pub(crate) struct Changing<'a> {
    fence: &'a Fence,
    /// `None` where it is not known what changes: then all copies end.
    names: Option<Vec<String>>,
}

impl<'a> Changing<'a> {
    pub(super) fn of(fence: &'a Fence) -> Self {
        Self { fence, names: None }
    }

    /// This alone changes.
    pub(crate) fn one(mut self, name: String) -> Self {
        self.names = Some(vec![name]);
        self
    }

    /// These are all that have changed.
    pub(crate) fn were(&mut self, names: impl IntoIterator<Item = String>) {
        self.names = Some(names.into_iter().collect());
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        match &self.names {
            None => self.fence.all_changed(),
            Some(names) => names.iter().for_each(|name| self.fence.changed(name)),
        }
    }
}
