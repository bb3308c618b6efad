//! A token store with a layer around each call.

use async_trait::async_trait;

use super::{Around, Layered};
use crate::error::Result;
use crate::key::Name;
use crate::layer::Call;
use crate::time::Ttl;
use crate::token::{Epoch, Scope, TokenCapabilities, TokenFacts, TokenSettings, TokenStore, Verdict};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> TokenStore for Layered<dyn TokenStore, A> {
    fn capabilities(&self) -> TokenCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.base = self.base(capabilities.base);
        capabilities
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
