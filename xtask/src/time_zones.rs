//! Which of Zoom's time zones has the same rules as a device's: the rows in `supabase/schemas/015_time_zones.sql`,
//! computed from the IANA database.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use chrono::{DateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{Tz, TZ_VARIANTS};
use local_stack::zoom::TIME_ZONES;

/// Two zones have the same rules if they agree through these years. Further ahead nobody knows the rules.
const FIRST_YEAR: i32 = 2026;
const LAST_YEAR: i32 = 2036;
/// Of several zones with the same rules, the one that has agreed for longest is closest.
const OLDEST_YEAR: i32 = 1970;

/// The block in `sql` between its marks, made again.
///
/// # Errors
/// If the marks are missing, or a name on Zoom's list is not in the IANA database.
pub fn with_rows(sql: &str) -> Result<String> {
    const BEGIN: &str = "from (values\n";
    const END: &str = "\n) as known";
    let (before, rest) = sql.split_once(BEGIN).context("the beginning of the rows")?;
    let (_, after) = rest.split_once(END).context("the end of the rows")?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", rows()?.join(",\n")))
}

/// A row for each zone on Zoom's list with all names that it stands for, and one for those that no zone of Zoom's fits.
fn rows() -> Result<Vec<String>> {
    let mut names: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    for (name, zoom_name) in zoom_names()? {
        names.entry(zoom_name).or_default().push(name);
    }
    let row = |(zoom_name, names): (&Option<&str>, &Vec<&str>)| {
        let zoom_name = zoom_name.map_or_else(|| "null".to_owned(), |name| format!("'{name}'"));
        let row = format!("  ({zoom_name}, '");
        format!("{row}{}')", wrapped(names, row.len()))
    };
    Ok(names.iter().map(row).collect())
}

/// The names, a blank or a new line between two; the first line begins at this column.
fn wrapped(names: &[&str], mut column: usize) -> String {
    let mut text = String::new();
    for name in names {
        if !text.is_empty() {
            let fits = column + name.len() < 116;
            text.push(if fits { ' ' } else { '\n' });
            column = if fits { column + 1 } else { 0 };
        }
        column += name.len();
        text += name;
    }
    text
}

/// A zone's offsets from UTC: from which second since 1970, and how many seconds.
type Changes = Vec<(i64, i32)>;

/// Each name in the IANA database with the name on Zoom's list that comes closest, of those with the same rules.
fn zoom_names() -> Result<BTreeMap<&'static str, Option<&'static str>>> {
    let mut by_rules: HashMap<Changes, Vec<(&str, Vec<i32>)>> = HashMap::new();
    for name in TIME_ZONES.lines() {
        let zone: Tz = name.parse().ok().with_context(|| format!("{name} is no time zone"))?;
        by_rules.entry(rules(zone)).or_default().push((name, history(zone)));
    }
    let closest = |zone: &Tz| {
        let (name, past) = (zone.name(), history(*zone));
        let region = |name: &str| name.split_once('/').map(|(region, _)| region.to_owned());
        let city = |name: &str| name.rsplit('/').next().map(str::to_owned);
        let candidates = by_rules.get(&rules(*zone)).into_iter().flatten();
        candidates
            .max_by_key(|(candidate, theirs)| {
                let differed = past.iter().zip(theirs).rposition(|(one, other)| one != other);
                (
                    *candidate == name,
                    std::cmp::Reverse(differed),
                    city(candidate) == city(name),
                    region(candidate) == region(name),
                    std::cmp::Reverse(*candidate),
                )
            })
            .map(|(candidate, _)| *candidate)
    };
    Ok(TZ_VARIANTS.iter().map(|zone| (zone.name(), closest(zone))).collect())
}

/// When the distance from Greenwich changes, and to what, in seconds.
fn rules(zone: Tz) -> Changes {
    let mut days = days(FIRST_YEAR, LAST_YEAR).into_iter();
    let mut known = days.next().unwrap_or_default();
    let mut rules = vec![(known, offset(zone, known))];
    for day in days {
        // No zone changes twice a day.
        if offset(zone, day) != offset(zone, known) {
            let (mut before, mut after) = (known, day);
            while after - before > 1 {
                let middle = before + (after - before) / 2;
                let side = if offset(zone, middle) == offset(zone, known) {
                    &mut before
                } else {
                    &mut after
                };
                *side = middle;
            }
            rules.push((after, offset(zone, after)));
        }
        known = day;
    }
    rules
}

fn history(zone: Tz) -> Vec<i32> {
    let days = days(OLDEST_YEAR, LAST_YEAR);
    days.into_iter().map(|day| offset(zone, day)).collect()
}

/// Each day of these years, in seconds since 1970.
fn days(first: i32, last: i32) -> Vec<i64> {
    let begin = |year: i32| {
        Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0)
            .earliest()
            .map_or(0, |at| at.timestamp())
    };
    let day = TimeDelta::days(1).num_seconds();
    (begin(first)..begin(last + 1))
        .step_by(usize::try_from(day).unwrap_or(1))
        .collect()
}

fn offset(zone: Tz, seconds: i64) -> i32 {
    let at = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_the_iana_database_says() {
        let path = local_stack::repository().join("supabase/schemas/015_time_zones.sql");
        let sql = std::fs::read_to_string(path).unwrap();
        assert!(with_rows(&sql).unwrap() == sql, "run `cargo xtask sql time-zones`");
    }

    #[test]
    fn zoom_gets_the_zone_that_comes_closest() {
        let names = zoom_names().unwrap();
        for (name, zoom_name) in [
            ("Europe/Berlin", Some("Europe/Berlin")),
            ("Europe/Kyiv", Some("Europe/Kiev")),
            ("America/Toronto", Some("America/Montreal")),
            ("Africa/Lagos", Some("Africa/Bangui")),
            ("Asia/Calcutta", Some("Asia/Calcutta")),
            ("Etc/UTC", Some("UTC")),
            ("Japan", Some("Asia/Tokyo")),
            ("CET", Some("CET")),
            // Two hours from winter to summer.
            ("Antarctica/Troll", None),
        ] {
            assert_eq!(names[name], zoom_name, "{name}");
        }
        for name in TIME_ZONES.lines() {
            assert_eq!(names[name], Some(name));
        }
    }
}
