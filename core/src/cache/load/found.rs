//! What a loader of many values answers for each.

use super::Loaded;

/// What a loader of many values answers for one identifier: a value, that there is none, or an error of its own.
///
/// A loader rarely names it: it answers pairs of an identifier and a `T`, a [`Loaded`], an `Option` or a `Result` of either,
/// or a `Result` of an `Option`, each of which is one.
#[derive(Debug, Clone)]
pub enum Found<T, E> {
    /// The value, and what is to become of it.
    Value(Loaded<T>),
    /// There is none.
    Absent,
    /// This one could not be loaded; the others are none the worse for it.
    Failed(E),
}

impl<T, E> From<T> for Found<T, E> {
    fn from(value: T) -> Self {
        Self::Value(Loaded::new(value))
    }
}

impl<T, E> From<Loaded<T>> for Found<T, E> {
    fn from(loaded: Loaded<T>) -> Self {
        Self::Value(loaded)
    }
}

impl<T, E> From<Option<T>> for Found<T, E> {
    fn from(found: Option<T>) -> Self {
        found.map_or(Self::Absent, Self::from)
    }
}

impl<T, E> From<Option<Loaded<T>>> for Found<T, E> {
    fn from(found: Option<Loaded<T>>) -> Self {
        found.map_or(Self::Absent, Self::Value)
    }
}

impl<T, E> From<Result<T, E>> for Found<T, E> {
    fn from(found: Result<T, E>) -> Self {
        found.map_or_else(Self::Failed, Self::from)
    }
}

impl<T, E> From<Result<Loaded<T>, E>> for Found<T, E> {
    fn from(found: Result<Loaded<T>, E>) -> Self {
        found.map_or_else(Self::Failed, Self::Value)
    }
}

impl<T, E> From<Result<Option<T>, E>> for Found<T, E> {
    fn from(found: Result<Option<T>, E>) -> Self {
        found.map_or_else(Self::Failed, Self::from)
    }
}

/// What it means that a loader of many values leaves an identifier out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum LeftOut {
    /// That there is no value, which may be remembered.
    Absent,
    /// Nothing.
    Unknown,
}
