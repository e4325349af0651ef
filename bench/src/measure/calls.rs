//! How many calls a function makes that wait for each other: each is time that a person waits.

use anyhow::Result;
use local_stack::EdgeRuntime;

use crate::contestants::{Setup, Who};
use crate::report::{Bound, Row};
use crate::requests::Scenario;

/// Counts what reaches the gateway and the simulator, once the key set is there.
pub async fn measure() -> Result<Vec<Row>> {
    let setup = Setup::start().await?;
    let ours = setup.contestant(Who::Ours, EdgeRuntime::Workerd).await?;
    let mut rows = Vec::new();
    for (scenario, most) in [
        (Scenario::Create, 3.0),
        (Scenario::OauthStart, 1.0),
        (Scenario::Webhook, 1.0),
    ] {
        scenario.send(&setup, &ours, 1, 1).await?;
        setup.stack.gateway().clear();
        setup.stack.zoom().clear_calls();
        scenario.send(&setup, &ours, 1, 1).await?;
        let calls = setup.stack.outbound_calls();
        let names: Vec<&str> = calls.iter().filter_map(|call| call.what.rsplit('/').next()).collect();
        #[allow(clippy::cast_precision_loss)]
        let row = Row::new(format!("{}, calls", scenario.name()), calls.len() as f64);
        rows.push(row.of(names.join(", ")).certain(Bound::AtMost(most)));
    }
    setup.stack.stop().await?;
    Ok(rows)
}
