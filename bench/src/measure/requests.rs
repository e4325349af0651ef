//! What a request costs beside its twin: CPU of the serving process, and how long its caller waits.
//!
//! Rounds alternate between the two. A ratio is made in each round, so that what disturbs the machine for longer than a
//! round disturbs both.

use std::time::{Duration, Instant};

use anyhow::Result;
use local_stack::EdgeRuntime;

use crate::contestants::{Contestant, Setup, Who};
use crate::load::percentile;
use crate::report::{Bound, Row};
use crate::requests::Scenario;
use crate::Args;

/// What is measured, and what its CPU may be of the twin's.
const SCENARIOS: [(Scenario, f64); 6] = [
    (Scenario::Create, 1.10),
    (Scenario::OauthStart, 1.15),
    (Scenario::Webhook, 1.15),
    (Scenario::GarbledToken, 1.0),
    (Scenario::WrongSignature, 1.0),
    (Scenario::ForgedEvent, 1.0),
];

/// What one round of one contestant has shown.
struct Round {
    cpu_us: f64,
    times: Vec<Duration>,
}

/// Measures on one host.
pub async fn measure(args: &Args, runtime: EdgeRuntime) -> Result<Vec<Row>> {
    let setup = Setup::start().await?;
    let ours = setup.contestant(Who::Ours, runtime).await?;
    let twin = setup.contestant(Who::Twin, runtime).await?;
    let floor = setup.contestant(Who::Floor, runtime).await?;
    let (rounds, count) = if args.quick { (3, 40) } else { (9, 150) };
    let mut rows = Vec::new();
    for (scenario, most) in SCENARIOS {
        let bases = match scenario {
            Scenario::Create => Scenario::ThreeCalls,
            _ => Scenario::Hello,
        };
        for (contestant, scenario) in [(&ours, scenario), (&twin, scenario), (&floor, bases)] {
            // Until the compilers of the hosts have seen enough.
            scenario.send(&setup, contestant, count * 2, 16).await?;
        }
        let (mut cpu, mut median, mut worst, mut alone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut own_cpu, mut twin_cpu, mut floor_cpu) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let one = round(&setup, &ours, scenario, count, 16).await?;
            let two = round(&setup, &twin, scenario, count, 16).await?;
            let base = round(&setup, &floor, bases, count, 16).await?;
            cpu.push(one.cpu_us / two.cpu_us);
            median.push(percentile(&one.times, 0.5) / percentile(&two.times, 0.5));
            worst.push(percentile(&one.times, 0.99) / percentile(&two.times, 0.99));
            own_cpu.push(one.cpu_us);
            twin_cpu.push(two.cpu_us);
            floor_cpu.push(base.cpu_us);
            let one = round(&setup, &ours, scenario, count / 3, 1).await?;
            let two = round(&setup, &twin, scenario, count / 3, 1).await?;
            alone.push(percentile(&one.times, 0.5) / percentile(&two.times, 0.5));
        }
        let name = scenario.name();
        let detail = format!(
            "{} µs to {} µs; {} takes {} µs",
            middle(own_cpu),
            middle(twin_cpu),
            bases.name(),
            middle(floor_cpu)
        );
        rows.push(
            Row::median(format!("{name}, CPU ÷ twin"), cpu)
                .of(detail)
                .aim(Bound::AtMost(most)),
        );
        if scenario == Scenario::Create {
            rows.push(Row::median(format!("{name}, p50 ÷ twin, alone"), alone).aim(Bound::AtMost(1.02)));
            rows.push(Row::median(format!("{name}, p50 ÷ twin, 16 at once"), median).aim(Bound::AtMost(1.02)));
            rows.push(Row::median(format!("{name}, p99 ÷ twin, 16 at once"), worst));
        }
    }
    setup.stack.stop().await?;
    Ok(rows)
}

/// One round: CPU a request, less what the process uses when nobody asks it anything.
async fn round(
    setup: &Setup,
    contestant: &Contestant,
    scenario: Scenario,
    count: usize,
    at_once: usize,
) -> Result<Round> {
    let idle = idle_share(contestant).await?;
    let (before, start) = (contestant.usage()?, Instant::now());
    let times = scenario.send(setup, contestant, count, at_once).await?;
    let (after, took) = (contestant.usage()?, start.elapsed());
    setup.stack.gateway().clear();
    #[allow(clippy::cast_precision_loss)]
    let cpu_us = (after.cpu_us - before.cpu_us - idle * took.as_secs_f64() * 1e6) / count as f64;
    Ok(Round { cpu_us, times })
}

/// The share of a processor that the process uses without a request.
async fn idle_share(contestant: &Contestant) -> Result<f64> {
    const LONG: Duration = Duration::from_millis(100);
    let before = contestant.usage()?;
    tokio::time::sleep(LONG).await;
    Ok((contestant.usage()?.cpu_us - before.cpu_us) / LONG.as_micros() as f64)
}

fn middle(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    format!("{:.0}", values.get(values.len() / 2).copied().unwrap_or(f64::NAN))
}
