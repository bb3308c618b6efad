//! As whom a service connects, and where it learns that.

mod provider;
mod source;
mod value;

pub use self::provider::CredentialsProvider;
pub(crate) use self::source::Source;
pub use self::value::Credentials;
