//! TLS, on servers of the cases' own that speak it: which servers a connection trusts, and that all connections do.
//!
//! Without a `redis-server` the cases are ignored, and red where `CI` is set. It has to be built with TLS, as
//! Debian's is.

#![expect(clippy::unwrap_used, reason = "a test")]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod certificates;
mod cluster;
mod sentinel;
mod shared;
mod standalone;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let cases = cases! {
        cluster:
            every_connection_is_made_with_the_same_certificates
            a_wrong_root_is_refused;
        sentinel:
            sentinels_and_master_are_reached_by_it;
        standalone:
            every_connection_is_made_with_the_same_certificates
            a_wrong_root_is_refused
            a_wrong_name_is_refused
            a_server_that_asks_for_a_certificate_gets_it
            certificates_in_files_are_read_for_each_connection
            tls_and_none_do_not_meet
            bad_certificates_are_refused_where_they_are_set;
    };
    libtest_mimic::run(&Arguments::from_args(), cases).exit_code()
}
