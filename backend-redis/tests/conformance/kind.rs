//! The kinds of Redis that the suite can run on.

use stanchion_conformance::servers::Topology;

/// Names the kinds to run on, with commas between; `all` is all of them.
const CHOICE: &str = "STANCHION_TOPOLOGIES";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One server.
    Standalone,
    /// One server, on which the library is a user with the rights of `acl/service.acl`.
    Acl,
    /// Three masters.
    Cluster,
    /// Three masters with a replica each.
    Replicas,
    /// A master with two replicas, which three sentinels watch over.
    Sentinel,
    /// One server that speaks TLS, to clients with a certificate only.
    #[cfg(feature = "tls")]
    Tls,
}

impl Kind {
    const ALL: &[Self] = &[
        Self::Standalone,
        Self::Acl,
        Self::Cluster,
        Self::Replicas,
        Self::Sentinel,
        #[cfg(feature = "tls")]
        Self::Tls,
    ];

    /// The name of its harness, but for the way in which the server is run.
    const fn base(self) -> &'static str {
        match self {
            Self::Standalone => "redis",
            Self::Acl => "redis-acl",
            Self::Cluster => "redis-cluster",
            Self::Replicas => "redis-cluster-replicas",
            Self::Sentinel => "redis-sentinel",
            #[cfg(feature = "tls")]
            Self::Tls => "redis-tls",
        }
    }

    /// The name of its harness.
    pub(super) fn name(self) -> &'static str {
        // The report lists each way of running a server by itself.
        let in_container = std::env::var("STANCHION_REQUIRE").is_ok_and(|way| way == "container");
        if self == Self::Standalone && in_container { "redis-container" } else { self.base() }
    }

    /// What its URLs lead to.
    pub(super) const fn topology(self) -> Topology {
        match self {
            Self::Cluster | Self::Replicas => Topology::Cluster,
            _ => Topology::Standalone,
        }
    }

    /// Those that the environment names; without a word of it those that differ most.
    pub(super) fn chosen() -> Result<Vec<Self>, String> {
        let choice = std::env::var(CHOICE).unwrap_or_default();
        match choice.trim() {
            "" => Ok(vec![Self::Standalone, Self::Acl, Self::Cluster]),
            "all" => Ok(Self::ALL.to_vec()),
            names => names.split(',').map(|name| Self::named(name.trim())).collect(),
        }
    }

    fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|kind| kind.base() == name);
        found.copied().ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.base()).collect();
            format!("{CHOICE} names {name:?}, and there are {known:?} and all")
        })
    }
}
