//! Cases that start servers of their own.

use libtest_mimic::{Completion, Failed, Trial};
use stanchion_conformance::servers::Search;

/// Why no server can be started; `Err` where one must be.
pub(crate) fn missing() -> Result<Option<String>, Failed> {
    let search = Search::from_env();
    if search.require.as_deref().is_some_and(|way| way != "process") {
        return Ok(Some("runs where processes are allowed".to_owned()));
    }
    match search.binary() {
        Ok(_) => Ok(None),
        Err(error) if search.ci || search.require.is_some() => Err(error.into()),
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// A case on servers of its own.
pub(crate) fn case<F: Future<Output = ()>>(name: &str, run: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(missing) = missing()? {
            return Ok(Completion::ignored_with(missing));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(run());
        Ok(Completion::Completed)
    })
}

/// `vec![case("module::name", module::name), …]`.
macro_rules! cases {
    ($($module:ident: $($name:ident)*;)*) => {
        vec![$($(support::case(concat!(stringify!($module), "::", stringify!($name)), $module::$name),)*)*]
    };
}
