//! Addresses as subjects.

use std::net::IpAddr;

use stanchion::ErrorKind;

use crate::manual;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn all_addresses_of_a_network_are_one_subject() {
    let (_clock, stores) = manual();
    let limits = stores.limits("login").per_minute(5).build().unwrap();
    let mut allowed = 0;
    for host in 1..=100 {
        let from = address(&format!("2001:db8:1:2::{host:x}"));
        allowed += u32::from(limits.check(from).await.unwrap().is_allowed());
        allowed += u32::from(limits.check(&from).await.unwrap().is_allowed());
    }
    assert_eq!(allowed, 5);
    assert!(limits.check(address("2001:db8:1:3::1")).await.unwrap().is_allowed());
    assert_eq!(limits.peek("2001:db8:1:2::/64").await.unwrap()[0].remaining, 0, "the subject by its text");
    // An IPv4 address is itself, however it came.
    assert!(limits.check_cost(address("203.0.113.7"), 5).await.unwrap().is_allowed());
    assert!(!limits.check(address("::ffff:203.0.113.7")).await.unwrap().is_allowed());
    assert!(limits.check(address("203.0.113.8")).await.unwrap().is_allowed());
}

#[tokio::test]
async fn the_width_of_a_network_is_a_setting() {
    let (_clock, stores) = manual();
    let limits = |bits| stores.limits("login").per_minute(1).ipv6_prefix(bits).build();
    let (wide, narrow) = (limits(48).unwrap(), limits(128).unwrap());
    assert!(wide.check(address("2001:db8:1:2::1")).await.unwrap().is_allowed());
    assert!(!wide.check(address("2001:db8:1:ffff::1")).await.unwrap().is_allowed());
    assert!(narrow.check(address("2001:db8:1:2::1")).await.unwrap().is_allowed());
    assert!(narrow.check(address("2001:db8:1:2::2")).await.unwrap().is_allowed());
    for bits in [0, 129] {
        assert_eq!(limits(bits).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
