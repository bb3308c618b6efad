//! Passwords: hashed with Argon2id, on threads that may block.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::error::AppError;
use crate::service::BoxError;

/// A hash takes 19 MiB and tens of milliseconds: more at once would cost memory and be no faster.
const AT_ONCE: usize = 4;

#[derive(Clone)]
pub(super) struct Passwords {
    places: Arc<Semaphore>,
    nobodys: Arc<str>,
}

impl Passwords {
    pub(super) async fn new() -> Result<Self, BoxError> {
        let nobodys = tokio::task::spawn_blocking(|| hash("nobody's password")).await??;
        Ok(Self { places: Arc::new(Semaphore::new(AT_ONCE)), nobodys: nobodys.into() })
    }

    pub(super) async fn hash(&self, password: String) -> Result<String, AppError> {
        self.work(move || hash(&password)).await?.map_err(|error| AppError::internal(&error))
    }

    /// Whether this is the password. For an unknown account another hash is verified, so that the time it takes
    /// does not tell which accounts there are.
    pub(super) async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, AppError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobodys.to_string());
        Ok(self.work(move || is_password(&password, &stored)).await? && known)
    }

    /// Runs the work on a blocking thread once there is a place. A request that goes away keeps its place until
    /// its work is done.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AppError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|e| AppError::internal(&e))?;
        let work = move || {
            let _place = place;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| AppError::internal(&error))
    }
}

fn hash(password: &str) -> Result<String, argon2::password_hash::Error> {
    Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())
}

fn is_password(password: &str, stored: &str) -> bool {
    PasswordHash::new(stored)
        .is_ok_and(|stored| Argon2::default().verify_password(password.as_bytes(), &stored).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_is_the_password() {
        let passwords = Passwords::new().await.unwrap();
        let stored = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$"));
        assert!(passwords.verify("correct horse".to_owned(), Some(stored.clone())).await.unwrap());
        assert!(!passwords.verify("wrong horse".to_owned(), Some(stored)).await.unwrap());
        assert!(!passwords.verify("nobody's password".to_owned(), None).await.unwrap(), "nobody gets in");
    }
}
