//! What an application says of the device behind a session, for a page of devices.

use std::fmt;

use super::debug::Size;
use crate::error::{Error, Result};

/// A label and an address, as the application has worked them out: `Firefox on Linux`, and an IP address or `Berlin`.
///
/// Stored beside the fields of a session, in the clear, and answered by lists. `Debug` shows their sizes.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// What the user will recognise it by.
    pub label: Option<String>,
    /// From where it came last, as far as the application knows.
    pub address: Option<String>,
}

impl Device {
    /// The longest label and the longest address, in bytes.
    pub const MAX_TEXT: usize = 256;

    /// Nothing is known of it.
    pub const fn new() -> Self {
        Self { label: None, address: None }
    }

    /// With this label, of at most [`MAX_TEXT`](Self::MAX_TEXT) bytes.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With this address, of at most [`MAX_TEXT`](Self::MAX_TEXT) bytes.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "an address is small, and is said as it is: `address(ip)`"
    )]
    pub fn address(mut self, address: impl ToString) -> Self {
        self.address = Some(address.to_string());
        self
    }

    /// Refuses an overlong label or address.
    pub(super) fn check(&self) -> Result<()> {
        for (what, text) in [("label", &self.label), ("address", &self.address)] {
            let length = text.as_ref().map_or(0, String::len);
            if length > Self::MAX_TEXT {
                let most = Self::MAX_TEXT;
                return Err(Error::invalid(format!("a session's {what} takes {most} bytes, got {length}")));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |text: &Option<String>| text.as_ref().map(|text| Size(text.len()));
        f.debug_struct("Device")
            .field("label", &size(&self.label))
            .field("address", &size(&self.address))
            .finish()
    }
}
