//! What `cargo xtask bench` runs, compiled for speed: so the gateway and the simulator are not what is measured.
//!
//! Each measurement is a module of its own in `measure/`, and gives rows of one table. Figures are ratios of what was
//! measured in the same run, alternating. To add one: write the module, and name it in [`Measurement`].

// These functions panic on wasm32, where this never runs.
#![allow(clippy::disallowed_methods)]

mod contestants;
mod load;
mod measure;
mod process;
mod report;
mod requests;

use anyhow::{bail, Result};
use clap::{Parser, ValueEnum};
use local_stack::EdgeRuntime;

use report::{Report, Row};

/// What the project costs, in ratios of what was measured in one run.
#[derive(Parser)]
pub struct Args {
    /// Fewer rounds, three minutes in all, for CI. Fails only on figures that cannot be noise.
    #[arg(long)]
    pub quick: bool,
    /// Measure this alone; can be repeated.
    #[arg(long, value_enum)]
    pub only: Vec<Measurement>,
    /// Write the tables into docs/performance.md.
    #[arg(long)]
    pub write: bool,
}

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measurement {
    /// What each function weighs.
    Sizes,
    /// How often each function asks others.
    Calls,
    /// Requests beside their twin's, as on Cloudflare.
    Workerd,
    /// Requests beside their twin's, as on Supabase.
    Deno,
    /// The first answer.
    Cold,
    /// Whether memory grows.
    Memory,
}

impl Measurement {
    /// What its table is called.
    fn title(self) -> &'static str {
        match self {
            Self::Sizes => "Uploads",
            Self::Calls => "Calls that wait for each other",
            Self::Workerd => "Requests on workerd (Cloudflare)",
            Self::Deno => "Requests on Deno (Supabase)",
            Self::Cold => "The first answer",
            Self::Memory => "Memory",
        }
    }

    async fn run(self, args: &Args) -> Result<Vec<Row>> {
        match self {
            Self::Sizes => measure::sizes::measure(),
            Self::Calls => measure::calls::measure().await,
            Self::Workerd => measure::requests::measure(args, EdgeRuntime::Workerd).await,
            Self::Deno => measure::requests::measure(args, EdgeRuntime::Deno).await,
            Self::Cold => measure::cold::measure(args).await,
            Self::Memory => measure::memory::measure(args).await,
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut report = Report::default();
    for measurement in Measurement::value_variants() {
        if args.only.is_empty() || args.only.contains(measurement) {
            let rows = measurement.run(&args).await?;
            report.add(*measurement, measurement.title(), rows);
        }
    }
    if args.write {
        report.write()?;
    }
    if report.has_failed() {
        bail!("a figure that cannot be noise is off");
    }
    Ok(())
}
