//! Days and months: what is kept alive, what lapses, and who is told when.

use crate::support::connection::{as_service, db, options, zoom_calls, Host, KEYS};
use crate::support::on_shared_stack;
use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{StreamExt, TryStreamExt};
use local_stack::zoom::{Answer, Fault, Target, TokenStatus};
use local_stack::{repository, Stack};
use serde_json::{json, Value};
use shared::seal::SealingKeys;
use shared::secret::Secret;
use shared::zoom::connection::{access_token_context, refresh_token_context};

/// Whether the operator's query of hosts whose connection is about to lapse, as it is documented, shows this one.
async fn about_to_lapse(stack: &Stack, host: &Host) -> Result<bool> {
    let operations = std::fs::read_to_string(repository().join("docs/operations.md"))?;
    let section = operations
        .split_once("### Connections that lapse")
        .context("the section")?
        .1;
    let query = section.split_once("```sql").context("a query")?.1;
    let query = query.split_once("```").context("the end of the query")?.0;
    let rows = db(stack).await?.query(query, &[]).await?;
    Ok(rows.iter().any(|row| row.get::<_, uuid::Uuid>("user_id") == host.id()))
}

fn instant(value: &Value) -> Result<DateTime<Utc>> {
    Ok(value.as_str().context("an instant")?.parse()?)
}

/// The days until the connection lapses, as the app sees them: in its own row, by `zoom_connection`, by
/// `refresh-token`.
async fn days_left(host: &Host) -> Result<i64> {
    let row = host
        .user
        .select("user_integrations_zoom?select=expires_at,status")
        .await?
        .ok()?;
    let expires_at = instant(&row[0]["expires_at"])?;
    let connection = host.user.connection().await?;
    assert_eq!(instant(&connection["expires_at"])?, expires_at);
    assert_eq!(connection["zoom_account_email"], *host.zoom_email);
    Ok((expires_at - Utc::now() + TimeDelta::hours(1)).num_days())
}

/// How the connection would be told to a person: `expires_at` alone says whether to show Reconnect.
async fn must_reconnect(host: &Host) -> Result<bool> {
    let connection = host.user.connection().await?;
    let lapsed = instant(&connection["expires_at"])? < Utc::now();
    assert_eq!(connection["state"] == "expired", lapsed, "{connection}");
    Ok(lapsed)
}

/// Ends what other tests of this file have left connected, so that it is not counted.
async fn begin(stack: &Stack) -> Result<()> {
    stack
        .db()
        .await?
        .batch_execute("delete from public.user_integrations_zoom")
        .await?;
    Ok(())
}

#[test]
fn an_hour_without_use_is_nothing_to_speak_of() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        begin(stack).await?;
        let host = Host::connected(stack).await?;
        assert_eq!(days_left(&host).await?, 90);
        stack.travel(TimeDelta::hours(2)).await?;
        assert!(
            !must_reconnect(&host).await?,
            "the access token has run out, the connection has not"
        );
        stack.zoom().clear_calls();
        host.create().await?.ok()?;
        assert_eq!(zoom_calls(stack), ["token_refresh 200", "create_meeting 201"]);
        Ok(())
    })
}

#[test]
fn zoom_sync_leaves_29_idle_days_alone_and_ends_31() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        begin(stack).await?;
        let host = Host::connected(stack).await?;
        stack.travel(TimeDelta::days(29)).await?;
        stack.zoom().clear_calls();
        let counts = as_service(stack, "zoom-sync").await?;
        assert_eq!(
            counts["connections"],
            json!({"refreshed": 0, "expired": 0, "failed": 0, "remaining": 0})
        );
        assert_eq!(zoom_calls(stack).len(), 0);
        assert_eq!(
            (days_left(&host).await?, about_to_lapse(stack, &host).await?),
            (61, false)
        );

        stack.travel(TimeDelta::days(2)).await?;
        let counts = as_service(stack, "zoom-sync").await?;
        assert_eq!(
            counts["connections"],
            json!({"refreshed": 1, "expired": 0, "failed": 0, "remaining": 0})
        );
        assert_eq!(zoom_calls(stack), ["token_refresh 200"]);
        assert_eq!(days_left(&host).await?, 90, "it slides");
        assert_eq!(host.stored_tokens(stack).await?, Some([TokenStatus::Live; 2]));
        let again = as_service(stack, "zoom-sync").await?;
        assert_eq!(again["connections"]["refreshed"], 0);
        Ok(())
    })
}

#[test]
fn after_89_idle_days_without_zoom_sync_a_connection_still_works() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        begin(stack).await?;
        let host = Host::connected(stack).await?;
        stack.travel(TimeDelta::days(82)).await?;
        assert!(!about_to_lapse(stack, &host).await?);
        stack.travel(TimeDelta::days(7)).await?;
        assert_eq!(
            (days_left(&host).await?, about_to_lapse(stack, &host).await?),
            (1, true)
        );
        assert!(!must_reconnect(&host).await?);
        host.create().await?.ok()?;
        assert_eq!(
            (days_left(&host).await?, about_to_lapse(stack, &host).await?),
            (90, false)
        );
        Ok(())
    })
}

#[test]
fn after_91_idle_days_without_zoom_sync_a_connection_has_lapsed_and_says_so() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        begin(stack).await?;
        let (host, other) = (Host::connected(stack).await?, Host::connected(stack).await?);
        stack.travel(TimeDelta::days(91)).await?;
        // Before anybody has tried, and after.
        assert!(must_reconnect(&host).await?);
        assert_eq!(host.state().await?, ("expired".to_owned(), "idle".to_owned()));
        stack.zoom().clear_calls();
        assert_eq!(host.create().await?.code(), (403, "zoom_expired"));
        assert_eq!(host.refresh().await?.ok()?["state"], "expired");
        assert!(must_reconnect(&host).await?);
        let stored = host.stored(stack).await?;
        assert_eq!(
            (&stored["expired_reason"], &stored["refresh_token"]),
            (&json!("idle"), &Value::Null)
        );
        // zoom-sync, when it is back, finds the other one.
        let counts = as_service(stack, "zoom-sync").await?;
        assert_eq!(
            counts["connections"],
            json!({"refreshed": 0, "expired": 1, "failed": 0, "remaining": 0})
        );
        assert_eq!(other.stored(stack).await?["expired_reason"], "idle");
        assert_eq!(zoom_calls(stack).len(), 0, "Zoom is not asked what we know");
        host.connect().await?;
        assert_eq!(host.create().await?.code(), (200, "ok"));
        Ok(())
    })
}

#[test]
fn idle_days_with_zoom_sync_cost_a_refresh_a_month() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        begin(stack).await?;
        let host = Host::connected(stack).await?;
        let mut day = 0;
        for (next, refreshes, days_until_it_lapses) in [
            (29, 0, 61),
            (31, 1, 90),
            (60, 0, 61),
            (62, 1, 90),
            (89, 0, 63),
            (91, 0, 61),
            (93, 1, 90),
            (124, 1, 90),
        ] {
            stack.travel(TimeDelta::days(next - day)).await?;
            day = next;
            stack.zoom().clear_calls();
            as_service(stack, "zoom-sync").await?;
            assert_eq!(zoom_calls(stack), vec!["token_refresh 200"; refreshes], "day {day}");
            assert_eq!(days_left(&host).await?, days_until_it_lapses, "day {day}");
            assert!(!must_reconnect(&host).await?, "day {day}");
        }
        host.create().await?.ok()?;
        Ok(())
    })
}

#[test]
fn what_will_be_needed_within_minutes_is_refreshed_ahead() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        begin(stack).await?;
        let (in_use, session_soon, session_later, unused) = (
            Host::connected(stack).await?,
            Host::connected(stack).await?,
            Host::connected(stack).await?,
            Host::connected(stack).await?,
        );
        let db = db(stack).await?;
        for (host, start) in [(&session_soon, "9 minutes"), (&session_later, "20 minutes")] {
            host.create().await?.ok()?;
            let statement = format!(
                "update public.video_sessions set scheduled_start = now() + interval '{start}' where host_id = $1"
            );
            db.execute(&statement, &[&host.id()]).await?;
            // Both have long been idle for the hour of their access token.
            host.store(
                stack,
                "access_token_expires_at = now() - interval '5 hours', used_at = now() - interval '6 hours'",
            )
            .await?;
        }
        in_use
            .store(
                stack,
                "access_token_expires_at = now() + interval '9 minutes', used_at = now()",
            )
            .await?;
        unused
            .store(
                stack,
                "access_token_expires_at = now() + interval '9 minutes', used_at = now() - interval '1 hour'",
            )
            .await?;
        stack.zoom().clear_calls();
        let counts = as_service(stack, "refresh-token").await?;
        let expected = json!({
            "refreshed": 2, "expired": 0, "failed": 0, "remaining": 0, "resealed": 0, "on_older_keys": 0,
        });
        assert_eq!(counts, expected);
        assert_eq!(zoom_calls(stack), ["token_refresh 200"; 2]);
        let version = async |host: &Host| anyhow::Ok(host.stored(stack).await?["refreshed_at"].clone());
        let before = [version(&in_use).await?, version(&session_soon).await?];
        // Nothing is left to do; and while Zoom's token endpoint cools down for a connection, it is not due.
        assert_eq!(as_service(stack, "refresh-token").await?["refreshed"], 0);
        assert_eq!([version(&in_use).await?, version(&session_soon).await?], before);
        session_later
            .store(
                stack,
                "refreshed_at = now() - interval '40 days', cooldown_until = now() + interval '1 hour'",
            )
            .await?;
        let counts = as_service(stack, "refresh-token").await?;
        assert_eq!((&counts["refreshed"], &counts["failed"]), (&json!(0), &json!(0)));
        Ok(())
    })
}

#[test]
fn a_host_refreshes_the_own_connection_and_learns_how_it_stands() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let host = Host::new(stack).await?;
        let nothing = json!({"state": "not_connected", "zoom_account_email": null, "expires_at": null});
        assert_eq!(host.refresh().await?.ok()?, nothing);
        host.connect().await?;
        for (left, calls) in [("11 minutes", 0), ("9 minutes", 1), ("0 minutes", 1)] {
            host.store(stack, &format!("access_token_expires_at = now() + interval '{left}'"))
                .await?;
            stack.zoom().clear_calls();
            let answer = host.refresh().await?.ok()?;
            assert_eq!(zoom_calls(stack), vec!["token_refresh 200"; calls], "{left}");
            assert_eq!(
                (&answer["state"], &answer["zoom_account_email"]),
                (&json!("connected"), &json!(host.zoom_email))
            );
            assert_eq!(
                answer["expires_at"],
                host.user.connection().await?["expires_at"],
                "{left}"
            );
        }
        host.let_access_token_run_out(stack).await?;
        stack
            .zoom()
            .order(Fault::at(Target::TOKEN_REFRESH).answering(Answer::bad_gateway()))?;
        assert_eq!(host.refresh().await?.code(), (503, "zoom_unavailable"));
        host.store(stack, "cooldown_until = null").await?;
        stack.zoom().revoke_tokens(&host.zoom_email)?;
        let answer = host.refresh().await?.ok()?;
        assert_eq!(
            (&answer["state"], &answer["zoom_account_email"]),
            (&json!("expired"), &json!(host.zoom_email))
        );
        assert!(instant(&answer["expires_at"])? <= Utc::now());
        Ok(())
    })
}

#[test]
fn one_run_refreshes_a_hundred_connections_and_says_how_many_are_left() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        begin(stack).await?;
        // Tokens that Zoom does not know: each run asks about a hundred of them, and learns that they are none.
        let keys = SealingKeys::parse(KEYS).map_err(anyhow::Error::msg)?;
        let db = &db(stack).await?;
        futures_util::stream::iter(0..103_u128)
            .map(|number| {
                let user = uuid::Uuid::from_u128(number);
                let seal = |place| keys.seal(place, &Secret::new(format!("unknown-{number}"))).unwrap_or_default();
                let tokens = (seal(access_token_context(user)), seal(refresh_token_context(user)));
                async move {
                    db.execute(
                        "insert into public.user_integrations_zoom (user_id, zoom_user_id, zoom_account_id, zoom_account_email,
                           scope, access_token, refresh_token, access_token_expires_at, expires_at, refreshed_at)
                         values ($1, 'nobody', 'nobody', 'nobody@zoom.test', '', $2, $3, now(), now() + interval '50 days',
                           now() - interval '40 days')",
                        &[&user, &tokens.0, &tokens.1],
                    )
                    .await
                }
            })
            .buffer_unordered(8)
            .try_collect::<Vec<_>>()
            .await?;
        let host = Host::connected(stack).await?;
        host.store(
            stack,
            "refreshed_at = now() - interval '31 days', access_token_expires_at = now()",
        )
        .await?;
        stack.zoom().clear_calls();
        let first = as_service(stack, "refresh-token").await?;
        let second = as_service(stack, "refresh-token").await?;
        let count = |run: &Value, name: &str| run[name].as_u64().unwrap_or_default();
        // A slow machine leaves more than four for the second run.
        let asked = count(&first, "expired");
        assert!((10..=100).contains(&asked), "{first}");
        assert_eq!(
            (count(&first, "refreshed"), count(&first, "remaining")),
            (0, 104 - asked),
            "{first}"
        );
        assert_eq!(
            (count(&second, "expired"), count(&second, "refreshed")),
            (103 - asked, 1),
            "{second}"
        );
        assert_eq!(count(&second, "remaining"), 0, "{second}");
        assert_eq!(zoom_calls(stack).len(), 104, "nobody is asked about twice");
        begin(stack).await
    })
}
