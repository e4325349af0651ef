//! Whether memory stays what it is: RSS after so many requests, and after as many again.

use anyhow::Result;
use local_stack::EdgeRuntime;

use crate::contestants::{Setup, Who};
use crate::report::{Bound, Row};
use crate::requests::Scenario;
use crate::Args;

/// Measures on both hosts.
pub async fn measure(args: &Args) -> Result<Vec<Row>> {
    let count = if args.quick { 500 } else { 20_000 };
    let mut rows = Vec::new();
    for runtime in [EdgeRuntime::Workerd, EdgeRuntime::Deno] {
        let setup = Setup::start().await?;
        let ours = setup.contestant(Who::Ours, runtime).await?;
        let mut rss = Vec::new();
        for _ in 0..2 {
            for (scenario, part) in [
                (Scenario::Create, 20),
                (Scenario::OauthStart, 4),
                (Scenario::Webhook, 4),
            ] {
                scenario.send(&setup, &ours, count / part, 16).await?;
                setup.stack.gateway().clear();
            }
            scenario_rest(&setup, &ours, count).await?;
            rss.push(ours.usage()?.rss_kb / 1_000.0);
        }
        let [first, second] = [rss[0], rss[1]];
        let row = Row::new(
            format!("{}, RSS after {} requests ÷ after half", runtime.name(), 2 * count),
            second / first,
        );
        rows.push(
            row.of(format!("{second:.0} MB to {first:.0} MB"))
                .aim(Bound::AtMost(1.05)),
        );
        setup.stack.stop().await?;
    }
    Ok(rows)
}

/// What is left of the count is refused.
async fn scenario_rest(setup: &Setup, ours: &crate::contestants::Contestant, count: usize) -> Result<()> {
    let rest = count - count / 20 - 2 * (count / 4);
    Scenario::WrongSignature.send(setup, ours, rest, 16).await?;
    Ok(())
}
