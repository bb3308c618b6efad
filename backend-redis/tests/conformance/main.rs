//! The conformance suite on a real Redis: standalone (an address, a container or a process), standalone as a user
//! with the rights of `acl/service.acl`, and Cluster; where the environment asks for it also a Cluster with replicas,
//! a master that sentinels watch over, and TLS with client certificates.

mod access;
mod acl;
mod found;
mod kind;
mod owned;
mod stored;
#[cfg(feature = "tls")]
mod tls;

use std::process::ExitCode;
use std::time::Duration;

use stanchion::Result;
use stanchion::stores::Stores;
use stanchion_conformance::{Harness, Offers, OwnedServer, Place, Stepped, Time, Unavailable, WallStep};
use tokio::sync::OnceCell;

use self::acl::AclFile;
use self::found::Found;
use self::kind::Kind;
use self::owned::Owned;

struct Redis {
    kind: Kind,
    acl: AclFile,
    found: OnceCell<Found>,
}

impl Redis {
    fn on(kind: Kind) -> Self {
        Self { kind, acl: AclFile::for_places(), found: OnceCell::new() }
    }

    fn urls(&self) -> &[String] {
        self.found.get().map_or(&[], |found| &found.urls)
    }
}

#[async_trait::async_trait]
impl Harness for Redis {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn offers(&self) -> Offers {
        Offers::all()
    }

    fn time(&self) -> Time {
        Time::Real
    }

    async fn prepare(&self) -> Result<(), Unavailable> {
        self.found.get_or_try_init(|| Found::find(self.kind, &self.acl)).await.map(drop)
    }

    async fn open(&self, place: &Place) -> Result<Stores> {
        match self.found.get() {
            Some(found) => found.access.open(self.urls(), place).await,
            None => access::Access::plain(self.kind).open(&[], place).await,
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the server's clock can't be driven: its time really passes"
    )]
    async fn advance(&self, _place: &Place, by: Duration) {
        tokio::time::sleep(by).await;
    }

    async fn step_wall_clock(&self, place: &Place, step: WallStep) -> Result<Stepped, Unavailable> {
        let urls = self.found.get().map_or(&[][..], |found| &found.operator_urls);
        let moved = stored::step(self.kind.topology(), urls, place.prefix(), step).await;
        moved.map_err(|error| Unavailable::broken("what is stored can't be moved in time", &error))?;
        Ok(Stepped::Stored)
    }

    fn child_environment(&self) -> Option<Vec<(String, String)>> {
        Some(self.found.get()?.child_environment())
    }

    async fn owned_server(&self) -> Result<Box<dyn OwnedServer>, Unavailable> {
        match self.found.get() {
            Some(Found { unbreakable: Some(why), .. }) => Err(Unavailable::lacking(*why)),
            Some(_) => Ok(Box::new(Owned::start(self.kind, &self.acl).await?)),
            None => Err(Unavailable::lacking("there is no server yet")),
        }
    }
}

fn main() -> ExitCode {
    match Kind::chosen() {
        Ok(kinds) => stanchion_conformance::main(kinds.into_iter().map(Redis::on)),
        Err(unknown) => {
            eprintln!("{unknown}");
            ExitCode::from(2)
        }
    }
}
