//! Faults at random: what was done, and what its caller knows of it.

use stanchion::environment::Environment;
use stanchion::layer::{Fault, FaultRates, Faults, InjectedOutcome};
use stanchion::prelude::*;

use crate::settled;
use crate::support::manual;

async fn left(limits: &Limits, id: u32) -> u32 {
    limits.peek(id).await.unwrap()[0].remaining
}

#[tokio::test]
async fn what_a_caller_is_told_is_true_of_what_was_done() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let faults = Faults::seeded(stores.environment(), 3);
    let rates = FaultRates::new().not_done(0.25).unwrap().lost(0.25).unwrap();
    faults.rate("limit.check", rates.late(0.4, seconds(1)).unwrap()).unwrap();
    let plain = stores.limits("login").per_minute(5).build().unwrap();
    let limits = stores.layer(faults.clone()).limits("login").per_minute(5).build().unwrap();
    let mut seen = [0; 5];
    for id in 0..100 {
        let before = faults.injected().len();
        // Where it is not answered at once, its caller goes away.
        let answer = settled(std::pin::pin!(limits.check(id))).await;
        let taken = 5 - left(&plain, id).await;
        let injected = faults.injected().get(before).map(|one| one.outcome);
        let kind = match (injected, answer) {
            (None, Some(answer)) => {
                assert!(answer.unwrap().is_allowed() && taken == 1);
                0
            }
            (Some(InjectedOutcome::NotDone), Some(answer)) => {
                let error = answer.unwrap_err();
                assert_eq!(
                    (error.kind(), error.effect(), taken),
                    (ErrorKind::Unavailable, Effect::NotApplied, 0)
                );
                assert_eq!(error.operation(), Some("limit.check"));
                1
            }
            (Some(InjectedOutcome::Lost), Some(answer)) => {
                let error = answer.unwrap_err();
                assert_eq!(
                    (error.kind(), error.effect(), taken),
                    (ErrorKind::Unavailable, Effect::Unknown, 1)
                );
                2
            }
            (Some(InjectedOutcome::Late(by)), None) => {
                assert!(taken == 0 && by < seconds(1));
                3
            }
            (Some(InjectedOutcome::LateReply(_)), None) => {
                assert_eq!(taken, 1);
                4
            }
            other => panic!("{other:?}"),
        };
        seen[kind] += 1;
    }
    assert!(seen.iter().all(|count| *count > 2), "{seen:?}");
    // Who waits is answered.
    faults.rate("limit.check", FaultRates::new().late(1.0, seconds(1)).unwrap()).unwrap();
    for id in 100..110 {
        let mut call = std::pin::pin!(limits.check(id));
        assert!(settled(call.as_mut()).await.is_none());
        clock.advance(seconds(1));
        assert!(settled(call).await.expect("it is over").unwrap().is_allowed());
    }
    // What is planned comes first, and nothing is done to what has no rate.
    faults.plan("limit.check", 1, Fault::Fail(Error::new(ErrorKind::Closed, "as planned"))).unwrap();
    assert_eq!(limits.check(200).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(left(&limits, 200).await, 5);
    faults.clear();
    assert!(limits.check(200).await.unwrap().is_allowed());
}

#[test]
fn rates_are_for_what_there_is() {
    let faults = Faults::seeded(&Environment::system(), 1);
    for of in ["*", "limit", "limit.check"] {
        faults.rate(of, FaultRates::new()).unwrap();
    }
    for of in ["", "limits", "limit.cheque", "limit."] {
        assert_eq!(faults.rate(of, FaultRates::new()).unwrap_err().kind(), ErrorKind::InvalidInput, "{of}");
    }
    let planned = Faults::new(&Environment::system());
    assert_eq!(planned.rate("*", FaultRates::new()).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(planned.injected().is_empty());
}
