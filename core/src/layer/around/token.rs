//! A token store with a layer around each call.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Around, Layered};
use crate::changes::ChangeFeed;
use crate::error::{Error, Result};
use crate::key::Name;
use crate::layer::Call;
use crate::time::Ttl;
use crate::token::{
    Epoch, FamilyId, FirstUses, NewFamily, RefreshFamilies, RotateOutcome, Rotation, Scope,
    TokenCapabilities, TokenFacts, TokenSettings, TokenStore, Verdict,
};

type LayeredTokens<A> = Layered<dyn TokenStore, A>;

/// A part that the accessors have not handed out.
fn absent() -> Error {
    Error::unsupported("this store does not have this part")
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> TokenStore for LayeredTokens<A> {
    fn capabilities(&self) -> TokenCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.base = self.base(capabilities.base);
        capabilities
    }

    fn first_uses(&self) -> Option<&dyn FirstUses> {
        self.inner.first_uses().map(|_| self as &dyn FirstUses)
    }

    fn families(&self) -> Option<&dyn RefreshFamilies> {
        self.inner.families().map(|_| self as &dyn RefreshFamilies)
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        self.inner.feed()
    }

    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> Result<()> {
        self.around.call(Call::TOKEN_REVOKE, || self.inner.revoke(service, jti, ttl)).await
    }

    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> Result<Epoch> {
        self.around.call(Call::TOKEN_REVOKE_ALL, || self.inner.revoke_all(service, scope, ttl)).await
    }

    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>> {
        self.around.call(Call::TOKEN_EPOCHS, || self.inner.epochs(service, scopes)).await
    }

    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict> {
        self.around.call(Call::TOKEN_CHECK, || self.inner.check(service, token)).await
    }

    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> Result<TokenSettings> {
        self.around.call(Call::TOKEN_AGREE, || self.inner.agree(service, ours, before)).await
    }

    async fn floor(&self, service: &Name) -> Result<Epoch> {
        self.around.call(Call::TOKEN_FLOOR, || self.inner.floor(service)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> FirstUses for LayeredTokens<A> {
    async fn claim(&self, service: &Name, name: &str, ttl: Ttl) -> Result<bool> {
        let uses = self.inner.first_uses().ok_or_else(absent)?;
        self.around.call(Call::TOKEN_CLAIM, || uses.claim(service, name, ttl)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> RefreshFamilies for LayeredTokens<A> {
    async fn open_family(&self, service: &Name, family: &NewFamily) -> Result<bool> {
        let families = self.inner.families().ok_or_else(absent)?;
        self.around.call(Call::TOKEN_OPEN_FAMILY, || families.open_family(service, family)).await
    }

    async fn rotate(&self, service: &Name, rotation: &Rotation) -> Result<RotateOutcome> {
        let families = self.inner.families().ok_or_else(absent)?;
        self.around.call(Call::TOKEN_ROTATE, || families.rotate(service, rotation)).await
    }

    async fn end_family(&self, service: &Name, id: &FamilyId) -> Result<Option<Bytes>> {
        let families = self.inner.families().ok_or_else(absent)?;
        self.around.call(Call::TOKEN_END_FAMILY, || families.end_family(service, id)).await
    }
}
