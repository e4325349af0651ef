//! Rules that stand in more than one language: every copy is read, and all say the same.

use anyhow::{ensure, Context, Result};
use local_stack::repository;

/// Where the numbers of a rule stand: the file, what stands before them, and what ends them.
type Place = (&'static str, &'static str, &'static str);

const SCHEMA: &str = "supabase/schemas/020_sessions.sql";
const INPUT: &str = "functions/create-session/src/input.rs";
const DOCUMENT: &str = "docs/openapi.yaml";
const FORM: &str = "app/src/session-form.js";

/// The numbers at a place; the same at each, where it occurs more than once.
fn numbers((file, before, after): Place) -> Result<Vec<u64>> {
    let text = std::fs::read_to_string(repository().join(file)).context(file)?;
    let found: Vec<Vec<u64>> = text
        .split(before)
        .skip(1)
        .filter_map(|rest| rest.split_once(after))
        .map(|(numbers, _)| {
            let digits = numbers.replace('_', "");
            let parts = digits
                .split(|c: char| !c.is_ascii_digit())
                .filter(|part| !part.is_empty());
            parts.filter_map(|part| part.parse().ok()).collect()
        })
        .collect();
    let first = found.first().with_context(|| format!("{file} has no {before:?}"))?;
    ensure!(!first.is_empty(), "{file}: no numbers after {before:?}");
    ensure!(
        found.iter().all(|numbers| numbers == first),
        "{file}, {before:?}: {found:?}"
    );
    Ok(first.clone())
}

fn one((file, before, after): Place) -> Result<u64> {
    match numbers((file, before, after))?.as_slice() {
        [number] => Ok(*number),
        several => anyhow::bail!("{file}, {before:?}: {several:?}"),
    }
}

#[test]
fn limits_are_the_same_wherever_they_stand() -> Result<()> {
    let rules: [(&str, &[u64], &[Place]); 6] = [
        (
            "lengths of a session, in minutes",
            &[30, 45, 60],
            &[
                (SCHEMA, "duration_minutes not in (", ")"),
                (INPUT, "minutes @ (", ")"),
                (DOCUMENT, "type: integer\n          enum: [", "]"),
                (FORM, "const LENGTHS = [", "]"),
            ],
        ),
        (
            "characters of a title",
            &[200],
            &[
                ("supabase/schemas/015_values.sql", "char_length(title) <= ", "\n"),
                ("supabase/schemas/015_values.sql", "one line of at most ", " characters"),
                (INPUT, "fields.required(\"title\", input::text(1, ", ")"),
                (
                    DOCUMENT,
                    "title:\n          type: string\n          minLength: 1\n          maxLength: ",
                    "\n",
                ),
                (DOCUMENT, "title: { type: string, minLength: 1, maxLength: ", " }"),
            ],
        ),
        (
            "characters of a description",
            &[2000],
            &[
                (SCHEMA, "char_length(description) <= ", ")"),
                (INPUT, "fields.optional(\"description\", input::long_text(", ")"),
                (DOCUMENT, "description: { type: string, maxLength: ", " }"),
                (
                    FORM,
                    "h(\"textarea\", { id: \"description\", rows: \"3\", maxlength: \"",
                    "\"",
                ),
            ],
        ),
        (
            "characters of a link",
            &[2000],
            &[
                (SCHEMA, "char_length(join_url) <= ", ")"),
                (INPUT, "fields.required(\"join_url\", input::text(1, ", ")"),
                (DOCUMENT, "format: uri\n          maxLength: ", "\n"),
            ],
        ),
        (
            "people of a session",
            &[2, 5],
            &[
                (SCHEMA, "max_participants between ", ")"),
                (DOCUMENT, "max_participants: { type: integer, minimum: ", " }"),
            ],
        ),
        (
            "how far a start may lie back, in minutes",
            &[5],
            &[
                (
                    SCHEMA,
                    "new.scheduled_start not between now() - interval '",
                    " minutes'",
                ),
                (
                    "supabase/schemas/080_creations.sql",
                    "->> 'scheduled_start')::timestamptz < now() - interval '",
                    " minutes'",
                ),
                (INPUT, "const START_TOLERANCE: TimeDelta = TimeDelta::minutes(", ")"),
            ],
        ),
    ];
    for (rule, expected, places) in rules {
        for place in places {
            assert_eq!(numbers(*place)?, expected, "{rule}: {place:?}");
        }
    }
    assert_eq!(one((INPUT, "const MAX_PEOPLE: u64 = ", ";"))?, 5);
    Ok(())
}

#[test]
fn times_leave_room_for_one_another() -> Result<()> {
    // Seconds.
    let zoom = one((
        "shared/src/zoom/mod.rs",
        "const DEADLINE: Duration = Duration::from_secs(",
        ")",
    ))?;
    let lease = one((
        "supabase/schemas/060_tokens.sql",
        "lease_length constant interval := '",
        " seconds'",
    ))?;
    let turn = one((
        "shared/src/zoom/connection.rs",
        "const LONGEST_WAIT_FOR_A_TURN: Duration = Duration::from_secs(",
        ")",
    ))?;
    assert!(
        lease > zoom + turn,
        "a lease outlives the refresh: {lease}, {zoom}, {turn}"
    );

    let asked_within = one((
        "functions/create-session/src/lib.rs",
        "const LATEST_REQUEST: TimeDelta = TimeDelta::seconds(",
        ")",
    ))?;
    let abandoned = 60
        * one((
            "supabase/schemas/080_creations.sql",
            "    now() + interval '",
            " minutes'",
        ))?;
    assert!(
        abandoned > asked_within + zoom,
        "an open creation is left alone while Zoom may still be asked"
    );

    let waits = one(("functions/zoom-oauth-callback/src/lib.rs", "const WAITS: u32 = ", ";"))?;
    let wait = one((
        "functions/zoom-oauth-callback/src/lib.rs",
        "const WAIT: Duration = Duration::from_secs(",
        ")",
    ))?;
    let given_up = 60
        * one((
            "supabase/schemas/050_consent.sql",
            "state.consumed_at < now() - interval '",
            " minutes'",
        ))?;
    assert!(
        given_up > waits * wait,
        "whoever waits for the first callback hears of it"
    );

    let database = one((
        "shared/src/db.rs",
        "const DEADLINE: Duration = Duration::from_secs(",
        ")",
    ))?;
    assert!(
        waits * wait > 2 * zoom + database,
        "the first callback may take as long as its calls"
    );
    Ok(())
}
