//! The way to the server: one [`Client`] for all commands, standalone or Cluster.

mod authentication;
mod client;
mod cluster;
mod connection;
mod context;
mod health;
mod lanes;
mod logged_once;
mod masters;
mod names;
mod node;
mod progress;
mod purpose;
mod push;
mod reached;
mod renewals;
mod run;
mod sentinel;
mod server_info;
pub(crate) mod supervisor;
mod target;
mod telemetry;
mod time;
mod topology;

pub(crate) use self::authentication::keep_renewed;
pub(crate) use self::client::Client;
pub(crate) use self::connection::Connection;
pub(crate) use self::context::Context;
pub(crate) use self::masters::{MasterObserver, Masters};
pub(crate) use self::node::Node;
pub(crate) use self::purpose::Purpose;
pub(crate) use self::push::PushHandler;
pub(crate) use self::run::is_split;
pub(crate) use self::target::Target;
pub(crate) use self::time::from_parts;
