//! Rate limits.

use super::PROCESSES;
use crate::check::same;
use crate::child::{Task, race};
use crate::{Context, Outcome};

pub(in crate::cases) async fn a_burst_is_for_all_together(cx: &Context) -> Outcome {
    const BURST: u32 = 50;
    let mut children = cx.children(PROCESSES).await?;
    // Each alone would have it all; one comes back in half an hour.
    let check = |_| Task::Check { subject: "a".into(), burst: BURST, times: BURST };
    let allowed: Vec<u32> = race(&mut children, check).await?;
    same(allowed.iter().sum::<u32>(), BURST, "permits of one burst, given to all processes together")
}
