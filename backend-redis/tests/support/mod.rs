//! Cases that start servers of their own.

use libtest_mimic::{Completion, Failed, Trial};
use stanchion_conformance::servers::Search;
use tokio::runtime::Builder;

/// Why no server can be started; `Err` where one must be.
pub(crate) fn missing() -> Result<Option<String>, Failed> {
    match Search::from_env().owned() {
        Ok(_) => Ok(None),
        Err(absent) if absent.fatal => Err(absent.into()),
        Err(absent) => Ok(Some(absent.message)),
    }
}

/// A case on servers of its own.
pub(crate) fn case<F: Future<Output = ()>>(name: &str, run: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match missing()? {
        Some(missing) => Ok(Completion::ignored_with(missing)),
        None => completed(run()),
    })
}

pub(crate) fn completed(run: impl Future<Output = ()>) -> Result<Completion, Failed> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run);
    Ok(Completion::Completed)
}

/// `vec![case("module::name", module::name), …]`, of lists by module or of paths.
macro_rules! cases {
    ($($module:ident: $($name:ident)*;)*) => {
        cases!($($($module::$name)*)*)
    };
    ($($module:ident::$name:ident)*) => {
        vec![$(support::case(concat!(stringify!($module), "::", stringify!($name)), $module::$name),)*]
    };
}
