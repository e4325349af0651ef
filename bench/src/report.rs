//! The tables: printed as they come, and kept in docs/performance.md.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::Measurement;

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {}", number(most)),
        }
    }
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    figure: String,
    value: f64,
    /// The lowest and the highest that was measured.
    spread: Option<(f64, f64)>,
    /// What it was made of: "412 µs to 380 µs".
    detail: String,
    bound: Option<Bound>,
    certain: bool,
}

impl Row {
    /// A figure by its name.
    pub fn new(figure: impl Into<String>, value: f64) -> Self {
        Self {
            figure: figure.into(),
            value,
            spread: None,
            detail: String::new(),
            bound: None,
            certain: false,
        }
    }

    /// The median of what was measured several times, and how far it spread.
    pub fn median(figure: impl Into<String>, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let mut row = Self::new(figure, values.get(values.len() / 2).copied().unwrap_or(f64::NAN));
        row.spread = values.first().copied().zip(values.last().copied());
        row
    }

    /// What it was made of.
    pub fn of(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// What it ought to be. It can be noise, and fails nothing.
    pub fn aim(mut self, bound: Bound) -> Self {
        self.bound = Some(bound);
        self
    }

    /// What it has to be: it is the same on every machine, and fails the run if it is not.
    pub fn certain(mut self, bound: Bound) -> Self {
        self.bound = Some(bound);
        self.certain = true;
        self
    }

    fn holds(&self) -> bool {
        self.bound.is_none_or(|bound| bound.holds(self.value))
    }

    fn cells(&self) -> [String; 5] {
        [
            self.figure.clone(),
            number(self.value),
            self.spread.map_or_else(String::new, |(low, high)| {
                format!("{} to {}", number(low), number(high))
            }),
            self.detail.clone(),
            match self.bound {
                Some(bound) if self.holds() => bound.text(),
                Some(bound) => format!("{}: missed", bound.text()),
                None => String::new(),
            },
        ]
    }
}

/// Three significant digits are more than any of these are worth.
fn number(value: f64) -> String {
    match value.abs() {
        size if value.fract() == 0.0 && size < 1e9 => format!("{value:.0}"),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// All that was measured.
#[derive(Default)]
pub struct Report {
    tables: Vec<(Measurement, String)>,
    failed: bool,
}

impl Report {
    /// Prints a table and keeps it.
    pub fn add(&mut self, measurement: Measurement, title: &str, rows: Vec<Row>) {
        let mut table =
            format!("### {title}\n\n| figure | value | spread | made of | to be |\n|---|---|---|---|---|\n");
        for row in &rows {
            // Writing to text cannot fail.
            let _ = writeln!(table, "| {} |", row.cells().join(" | "));
        }
        println!("{table}");
        self.failed |= rows.iter().any(|row| row.certain && !row.holds());
        self.tables.push((measurement, table));
    }

    /// Whether a figure is off that is the same on every machine.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Puts each table in its place in docs/performance.md.
    pub fn write(&self) -> Result<()> {
        let path = local_stack::repository().join("docs/performance.md");
        let mut text = fs::read_to_string(&path).context("docs/performance.md")?;
        for (measurement, table) in &self.tables {
            let name = measurement
                .to_possible_value()
                .map_or_else(String::new, |value| value.get_name().to_owned());
            let (begin, end) = (format!("<!-- measured: {name} -->\n"), "<!-- end -->");
            let start = text
                .find(&begin)
                .with_context(|| format!("docs/performance.md has no place for {name}"))?;
            let start = start + begin.len();
            let length = text[start..].find(end).context("a place without an end")?;
            text.replace_range(start..start + length, table);
        }
        fs::write(&path, text).context("docs/performance.md")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_bound_holds() {
        let row = Row::median("a ÷ b", vec![1.2, 1.0, 1.1]).aim(Bound::AtMost(1.1));
        assert_eq!(row.cells(), ["a ÷ b", "1.10", "1 to 1.20", "", "≤ 1.10"]);
        assert!(!Row::new("a", 231.0).certain(Bound::AtMost(230.0)).holds());
        assert!(Row::new("a", 230.0).certain(Bound::AtMost(230.0)).holds());
    }
}
