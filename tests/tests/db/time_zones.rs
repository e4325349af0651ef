//! Time zones: every name that a device reports is taken and stays, whatever Zoom calls it.

use crate::support::db::{connect, everything, meeting, on_shared_stack, session_request, Caller};
use crate::support::in_hours;
use anyhow::Result;
use local_stack::zoom::TIME_ZONES;
use serde_json::{json, Value};
use uuid::Uuid;

/// What a browser offers (`Intl.supportedValuesOf("timeZone")`), and what devices report beside.
fn reported() -> impl Iterator<Item = &'static str> {
    const DEVICES: [&str; 15] = [
        "GMT",
        "UTC",
        "Etc/UTC",
        "Etc/GMT-1",
        "EST",
        "CET",
        "MST7MDT",
        "Japan",
        "Asia/Calcutta",
        "Europe/Kyiv",
        "GMT+02:00",
        "GMT-0330",
        "GMT+1",
        "UTC+10",
        "US/Eastern",
    ];
    include_str!("../support/browser-time-zones.txt").lines().chain(DEVICES)
}

#[test]
fn every_zone_is_taken_and_comes_back_as_it_was() -> Result<()> {
    on_shared_stack(async |stack| {
        let (db, service) = (stack.db().await?, Caller::service(stack));
        let step = async |sql: &str, arguments: &Value| {
            let row = db.query_one(&format!("select {sql}"), &[arguments]).await?;
            anyhow::Ok(row.get::<_, Value>(0))
        };
        // One host may not create as many sessions within an hour.
        for zones in reported().collect::<Vec<_>>().chunks(250) {
            let host = Caller::host(stack).await?;
            connect(&service, host.id).await?;
            for &zone in zones {
                let begun = step(
                    &format!(
                        "public.edge_session_begin('{}', '{}', null, 'hash', $1::jsonb)",
                        host.id,
                        Uuid::new_v4()
                    ),
                    &session_request(&json!({"timezone": zone})),
                )
                .await?;
                let sent = &begun["zoom_timezone"];
                assert!(begun["outcome"] == "create", "{zone}: {begun}");
                assert!(
                    sent.is_null() || TIME_ZONES.lines().any(|name| sent == name),
                    "{zone}: {sent}"
                );
                let mut meeting = meeting();
                // Zoom takes the host's own zone where it hears of none.
                let held = sent.as_str().unwrap_or("America/Bogota");
                meeting["timezone"] = json!(held);
                let (creation, number) = (begun["creation_id"].as_str().unwrap_or_default(), meeting["id"].clone());
                let complete = format!("public.edge_session_complete('{creation}', '{}', $1::jsonb)", host.id);
                assert_eq!(step(&complete, &meeting).await?["session"]["timezone"], zone);

                let moved = json!({"meeting_id": number, "start_time": in_hours(72), "timezone": held});
                let event = format!(
                    "public.edge_webhook_receive('{creation}', 'meeting.updated', {}, $1::jsonb)",
                    in_hours(0).timestamp_millis()
                );
                assert_eq!(step(&event, &moved).await?["outcome"], "applied");
                let renamed =
                    "with renamed as (update public.video_sessions set title = 'B' where id = ($1::jsonb ->> 'id')::uuid
                   returning timezone, scheduled_start) select jsonb_build_object('timezone', timezone, 'moved',
                   scheduled_start > now() + interval '2 days') from renamed";
                let seen: Value = db.query_one(renamed, &[&json!({"id": creation})]).await?.get(0);
                assert_eq!(seen, json!({"timezone": zone, "moved": true}));
            }
            // Only the titles go to Zoom: two changes of an account at a time.
            let waiting =
                "select count(*) from video_sessions_private.zoom_outbox where user_id = $1 and kind = 'update'";
            let waiting: i64 = db.query_one(waiting, &[&host.id]).await?.get(0);
            assert_eq!(usize::try_from(waiting)?, zones.len());
            let claim = json!({"holder": Uuid::new_v4(), "max_rows": 1000, "only_user": host.id, "scope": "due"});
            let claimed = service.step("edge_outbox_claim", claim).await?;
            let tasks = claimed["tasks"].as_array().cloned().unwrap_or_default();
            assert_eq!(tasks.len(), 2);
            assert!(tasks.iter().all(|task| task["desired"] == json!({"title": "B"})));
        }
        Ok(())
    })
}

#[test]
fn a_host_who_changes_the_zone_in_zoom_is_followed() -> Result<()> {
    on_shared_stack(async |stack| {
        let (db, service, host) = (stack.db().await?, Caller::service(stack), Caller::host(stack).await?);
        connect(&service, host.id).await?;
        let wanted = json!({"timezone": "America/Toronto"});
        let session = crate::support::db::create_session(&service, host.id, &wanted).await?;
        let mut told = 0;
        for (zone, expected) in [
            // What we sent, another name for it, and a real change.
            ("America/Montreal", "America/Toronto"),
            ("America/Toronto", "America/Toronto"),
            ("Mars/Olympus", "America/Toronto"),
            ("Europe/Kiev", "Europe/Kiev"),
            ("America/Montreal", "America/Montreal"),
        ] {
            told += 1;
            let event = json!({
                "event_id": Uuid::new_v4(), "event": "meeting.updated", "event_ts": in_hours(0).timestamp_millis() - 9 + told,
                "details": {"meeting_id": session["provider_meeting_id"], "timezone": zone},
            });
            assert_eq!(service.outcome("edge_webhook_receive", event).await?, "applied");
            let seen = host.get(&format!("video_sessions?host_id=eq.{}", host.id)).await?;
            assert_eq!(seen.json[0]["timezone"], expected, "{zone}");
        }
        let outbox = everything(&db).await?["video_sessions_private.zoom_outbox"].clone();
        let ours = outbox.as_array().into_iter().flatten();
        assert_eq!(ours.filter(|task| task["user_id"] == json!(host.id)).count(), 0);
        Ok(())
    })
}

#[test]
fn zooms_zone_shows_the_same_time() -> Result<()> {
    on_shared_stack(async |stack| {
        let db = stack.db().await?;
        // Where this server knows both; the years from 2027 on, since its own list of zones may be older. It takes
        // names such as CET for abbreviations, without summer time.
        let sql = "
          select zones.name || ' ' || zones.zoom_name || ' ' || min(at)::text
          from video_sessions_private.time_zones zones
          join pg_catalog.pg_timezone_names one on one.name = zones.name
          join pg_catalog.pg_timezone_names other on other.name = zones.zoom_name
          cross join generate_series(timestamptz '2027-01-01', '2032-01-01', interval '5 days') as at
          where zones.name <> zones.zoom_name
            and not exists (select from pg_catalog.pg_timezone_abbrevs where abbrev in (zones.name, zones.zoom_name))
            and at at time zone zones.name <> at at time zone zones.zoom_name
          group by zones.name, zones.zoom_name";
        let wrong: Vec<String> = db.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let sql = "select count(*), count(zoom_name) from video_sessions_private.time_zones";
        let counts = db.query_one(sql, &[]).await?;
        let (all, mapped): (i64, i64) = (counts.get(0), counts.get(1));
        assert!(all >= 597 && mapped >= 550, "{all} {mapped}");
        Ok(())
    })
}
