//! The first answer of a process that has just started, beyond what a worker that says hello takes. It is a refusal: no
//! call to others is in it, and all code that answers is.

use anyhow::Result;
use local_stack::EdgeRuntime;

use crate::contestants::{Setup, Who};
use crate::report::{Bound, Row};
use crate::requests::Scenario;
use crate::Args;

/// Measures on both hosts.
pub async fn measure(args: &Args) -> Result<Vec<Row>> {
    let setup = Setup::start().await?;
    let starts = if args.quick { 3 } else { 11 };
    let mut rows = Vec::new();
    for runtime in [EdgeRuntime::Workerd, EdgeRuntime::Deno] {
        let (mut ratios, mut beyond) = (Vec::new(), [Vec::new(), Vec::new()]);
        for _ in 0..starts {
            let hello = first(&setup, Who::Floor, runtime, Scenario::Hello).await?;
            let ours = first(&setup, Who::Ours, runtime, Scenario::GarbledToken).await? - hello;
            let twin = first(&setup, Who::Twin, runtime, Scenario::GarbledToken).await? - hello;
            ratios.push(ours / twin);
            beyond[0].push(ours);
            beyond[1].push(twin);
        }
        let [ours, twin] = beyond.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
        });
        let row = Row::median(
            format!("{}, first answer beyond hello ÷ twin's", runtime.name()),
            ratios,
        );
        rows.push(row.of(format!("{ours:.1} ms to {twin:.1} ms")).aim(Bound::AtMost(2.0)));
    }
    setup.stack.stop().await?;
    Ok(rows)
}

/// How long the first answer takes, in milliseconds.
async fn first(setup: &Setup, who: Who, runtime: EdgeRuntime, scenario: Scenario) -> Result<f64> {
    let contestant = setup.contestant(who, runtime).await?;
    let times = scenario.send(setup, &contestant, 1, 1).await?;
    contestant.stop().await?;
    Ok(times.iter().sum::<std::time::Duration>().as_secs_f64() * 1_000.0)
}
