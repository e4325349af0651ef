//! Connecting, using and disconnecting at the same time: the newest connection holds, and one that was ended leaves
//! nothing.

use std::time::Duration;

use crate::support::connection::{as_service, db, options, zoom_calls, Host};
use crate::support::on_shared_stack;
use crate::support::Reply;
use anyhow::{ensure, Context, Result};
use chrono::TimeDelta;
use local_stack::zoom::{
    Answer, DeliveryPlan, Endpoint, Fault, Moment, OldAccessToken, OvertakenAt, RecordedCall, Rules, Target, TokenKind,
    TokenStatus,
};
use local_stack::{GatewayFault, Stack};
use serde_json::{json, Value};
use tokio::task::JoinHandle;

const LIVE: Option<[TokenStatus; 2]> = Some([TokenStatus::Live; 2]);

/// A call of a host's that hangs at Zoom.
struct Hanging {
    fault: u64,
    answer: JoinHandle<Result<Reply>>,
}

impl Hanging {
    /// Creates a session, and waits until Zoom is asked: `fault` says for what, and whether Zoom acts before it hangs.
    async fn create(stack: &Stack, host: &Host, fault: Fault) -> Result<Self> {
        stack.zoom().clear_calls();
        let moment = fault.moment;
        let fault = stack.zoom().order(fault.hanging())?;
        let caller = host.clone();
        let answer = tokio::spawn(async move { caller.create().await });
        let hangs = |call: &RecordedCall| call.fault == Some(fault) && (call.acted || moment == Moment::Before);
        stack
            .zoom()
            .wait_for("the call that hangs", |calls| calls.iter().any(hangs))
            .await?;
        Ok(Self { fault, answer })
    }

    /// Lets Zoom go on, and gives what the host heard.
    async fn release(self, stack: &Stack) -> Result<Reply> {
        stack.zoom().release(self.fault)?;
        self.answer.await?
    }
}

/// Both moments at which a refresh can hang: before Zoom has acted, and after.
fn refreshes() -> [Fault; 2] {
    let refresh = || Fault::at(Target::TOKEN_REFRESH);
    [refresh(), refresh().after_acting()]
}

/// Has Zoom's events delivered, all of which the app has to take.
async fn deliver_events(stack: &Stack) -> Result<usize> {
    let reports = stack.zoom().deliver(&DeliveryPlan::default()).await?;
    ensure!(reports.iter().all(|report| report.status == Some(200)), "{reports:?}");
    Ok(reports
        .iter()
        .filter(|report| report.event == "app_deauthorized")
        .count())
}

/// Everything that is stored of a host's connection and could be used.
async fn kept(stack: &Stack, host: &Host) -> Result<i64> {
    let query = "select (select count(*) from public.user_integrations_zoom where user_id = $1)
                      + (select count(*) from video_sessions_private.zoom_revocations where user_id = $1)";
    Ok(db(stack).await?.query_one(query, &[&host.id()]).await?.get(0))
}

#[test]
fn a_reconnect_replaces_everything_and_clears_every_verdict() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        for verdict in [
            "updated_at = now()",
            "status = 'expired', expired_reason = 'revoked', expires_at = now(), access_token = null, refresh_token = null",
            "status = 'expired', expired_reason = 'missing_scope', expires_at = now()",
            "cooldown_until = now() + interval '1 day', lease_holder = gen_random_uuid(), lease_until = now() + interval '1 day'",
        ] {
            let host = Host::connected(stack).await?;
            let before = host.stored(stack).await?;
            host.store(stack, verdict).await?;
            host.connect().await?;
            let after = host.stored(stack).await?;
            for changed in ["access_token", "refresh_token", "token_version", "connected_at", "refreshed_at", "expires_at"] {
                assert_ne!(after[changed], before[changed], "{verdict}: {changed}");
            }
            for cleared in ["expired_reason", "cooldown_until", "lease_holder", "lease_until"] {
                assert_eq!(after[cleared], Value::Null, "{verdict}: {cleared}");
            }
            assert_eq!(after["status"], "connected", "{verdict}");
            assert_eq!(host.stored_tokens(stack).await?, LIVE, "{verdict}");
            stack.zoom().clear_calls();
            host.create().await?.ok()?;
            assert_eq!(zoom_calls(stack), ["create_meeting 201"], "{verdict}");
        }
        Ok(())
    })
}

#[test]
fn a_reconnect_during_a_refresh_keeps_the_newer_tokens() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        for refresh in refreshes() {
            for overtaken_at in [OvertakenAt::Consent, OvertakenAt::Exchange] {
                let what = format!("{:?}, {overtaken_at:?}", refresh.moment);
                stack.zoom().change_rules(|rules| rules.overtaken_at = overtaken_at);
                let host = Host::connected(stack).await?;
                host.let_access_token_run_out(stack).await?;
                let hanging = Hanging::create(stack, &host, refresh.clone()).await?;
                host.connect().await?;
                // The caller gets on with the newer tokens.
                assert_eq!(hanging.release(stack).await?.code(), (200, "ok"), "{what}");
                assert_eq!(host.state().await?.0, "connected", "{what}");
                assert_eq!(host.stored_tokens(stack).await?, LIVE, "{what}");
                assert!(
                    !zoom_calls(stack).iter().any(|call| call.starts_with("revoke")),
                    "{what}"
                );
            }
        }
        stack.zoom().change_rules(|rules| *rules = Rules::default());
        Ok(())
    })
}

/// Zoom ends what was there before when it gives new tokens, and those of a connect that fails are revoked.
#[test]
fn a_reconnect_that_fails_leaves_no_connection_that_does_not_work() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let host = Host::connected(stack).await?;
        stack.zoom().set_scopes(&host.zoom_email, &["user:read:user"])?;
        let page = host.user.connect_zoom(&host.zoom_email).await?;
        assert!(page.text.contains("error=missing_scope"), "{}", page.text);
        // Before anybody uses it, and before any event has come.
        assert_eq!(host.state().await?, ("expired".to_owned(), "superseded".to_owned()));

        // Of another Zoom account nothing is ended.
        let (host, other) = (Host::connected(stack).await?, Host::new(stack).await?);
        stack.zoom().set_scopes(&other.zoom_email, &["user:read:user"])?;
        let page = host.user.connect_zoom(&other.zoom_email).await?;
        assert!(page.text.contains("error=missing_scope"), "{}", page.text);
        assert_eq!(host.state().await?.0, "connected");
        assert_eq!(host.create().await?.code(), (200, "ok"));

        // Saved, and nobody heard of it: what was revoked is not taken for a connection.
        let host = Host::connected(stack).await?;
        let lost = GatewayFault::at_step("edge_oauth_complete").dropping().after_acting();
        stack.gateway().order(lost.lasting());
        let page = host.user.connect_zoom(&host.zoom_email).await?;
        stack.gateway().withdraw_all();
        assert!(page.text.contains("error=server_error"), "{}", page.text);
        assert_eq!(host.state().await?, ("expired".to_owned(), "revoked".to_owned()));
        assert_eq!(host.live_tokens(stack).len(), 0);
        Ok(())
    })
}

#[test]
fn a_zoom_account_moves_to_whoever_connected_it_last() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let (first, second) = (Host::connected(stack).await?, Host::new(stack).await?);
        second.connect_as(&first.zoom_email).await?;
        assert_eq!(
            first.state().await?,
            ("expired".to_owned(), "connected_elsewhere".to_owned())
        );
        assert_eq!(first.stored(stack).await?["refresh_token"], Value::Null);
        assert_eq!(first.create().await?.code(), (403, "zoom_expired"));
        // What the first one does now is no business of the second one's.
        first.disconnect().await?;
        assert_eq!(second.create().await?.code(), (200, "ok"));
        assert_eq!(second.stored_tokens(stack).await?, LIVE);
        assert_eq!(second.user.connection().await?["zoom_account_email"], *first.zoom_email);

        // And back, while the second one refreshes.
        for refresh in refreshes() {
            second.connect_as(&first.zoom_email).await?;
            second.let_access_token_run_out(stack).await?;
            stack.zoom().expire_tokens(&first.zoom_email, Some(TokenKind::Access))?;
            let hanging = Hanging::create(stack, &second, refresh).await?;
            first.connect().await?;
            assert_eq!(hanging.release(stack).await?.code(), (403, "zoom_expired"));
            assert_eq!(
                second.state().await?,
                ("expired".to_owned(), "connected_elsewhere".to_owned())
            );
            assert_eq!(first.create().await?.code(), (200, "ok"));
            assert_eq!(first.stored_tokens(stack).await?, LIVE);
            assert!(!zoom_calls(stack).iter().any(|call| call.starts_with("revoke")));
        }
        Ok(())
    })
}

#[test]
fn the_late_echo_of_our_own_revocation_ends_nothing() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let host = Host::connected(stack).await?;
        host.disconnect().await?;
        host.connect().await?;
        let newer = host.stored(stack).await?["token_version"].clone();
        // Zoom's second retry, and once more for good measure.
        stack.travel(TimeDelta::minutes(25)).await?;
        let plan = DeliveryPlan {
            copies: 2,
            ..DeliveryPlan::default()
        };
        let reports = stack.zoom().deliver(&plan).await?;
        assert_eq!(
            reports
                .iter()
                .filter(|report| report.event == "app_deauthorized")
                .count(),
            2
        );
        assert!(reports.iter().all(|report| report.status == Some(200)), "{reports:?}");
        assert_eq!(host.stored(stack).await?["token_version"], newer);
        assert_eq!(host.stored_tokens(stack).await?, LIVE);
        host.create().await?.ok()?;

        // The host removes the app in Zoom: that is another thing.
        stack.zoom().deauthorize(&host.zoom_email)?;
        assert_eq!(deliver_events(stack).await?, 1);
        assert_eq!(host.state().await?.0, "not_connected");
        assert_eq!(kept(stack, &host).await?, 0);
        assert_eq!(host.create().await?.code(), (403, "zoom_not_connected"));
        Ok(())
    })
}

#[test]
fn disconnecting_during_a_refresh_leaves_no_token_that_works() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        for refresh in refreshes() {
            let host = Host::connected(stack).await?;
            host.let_access_token_run_out(stack).await?;
            let hanging = Hanging::create(stack, &host, refresh.clone()).await?;
            host.disconnect().await?;
            assert_eq!(kept(stack, &host).await?, 0);
            assert_eq!(hanging.release(stack).await?.code(), (403, "zoom_not_connected"));
            assert_eq!(kept(stack, &host).await?, 0);
            assert_eq!(host.live_tokens(stack).len(), 0, "{:?}", refresh.moment);
            assert_eq!(host.sessions().await?, 0);
        }
        Ok(())
    })
}

/// A late word about an earlier connection is none about the one that came after it.
#[test]
fn a_refresh_of_a_connection_that_has_gone_does_not_touch_the_next_one() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        for refresh in refreshes() {
            let host = Host::connected(stack).await?;
            host.let_access_token_run_out(stack).await?;
            let hanging = Hanging::create(stack, &host, refresh.clone()).await?;
            host.disconnect().await?;
            host.connect().await?;
            assert_eq!(
                hanging.release(stack).await?.code(),
                (200, "ok"),
                "{:?}",
                refresh.moment
            );
            assert_eq!(
                host.state().await?,
                ("connected".to_owned(), String::new()),
                "{:?}",
                refresh.moment
            );
            assert_eq!(host.stored_tokens(stack).await?, LIVE, "{:?}", refresh.moment);
        }
        Ok(())
    })
}

/// Where Zoom takes a spent refresh token for a while, two can hold new tokens: who comes second must not revoke the
/// first.
#[test]
fn whoever_comes_late_with_new_tokens_revokes_nothing() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        stack.zoom().change_rules(|rules| {
            rules.old_refresh_token_grace_seconds = 600;
            rules.old_access_token = OldAccessToken::LivesOn;
        });
        let host = Host::connected(stack).await?;
        host.let_access_token_run_out(stack).await?;
        let [_, acts_first] = refreshes();
        let late = Hanging::create(stack, &host, acts_first).await?;
        stack.travel(TimeDelta::seconds(20)).await?;
        host.create().await?.ok()?;
        assert_eq!(late.release(stack).await?.code(), (200, "ok"));
        let calls = zoom_calls(stack);
        assert_eq!(
            calls.iter().filter(|call| *call == "token_refresh 200").count(),
            2,
            "{calls:?}"
        );
        assert!(!calls.iter().any(|call| call.starts_with("revoke")), "{calls:?}");
        assert_eq!(host.stored_tokens(stack).await?, LIVE);
        stack.zoom().change_rules(|rules| *rules = Rules::default());
        Ok(())
    })
}

#[test]
fn a_deauthorization_during_a_create_is_told_as_what_it_is() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let create = || Fault::at(Endpoint::CreateMeeting);
        // The event is faster than Zoom's answer.
        let host = Host::connected(stack).await?;
        let hanging = Hanging::create(stack, &host, create()).await?;
        stack.zoom().deauthorize(&host.zoom_email)?;
        assert_eq!(deliver_events(stack).await?, 1);
        assert_eq!(hanging.release(stack).await?.code(), (403, "zoom_not_connected"));
        assert_eq!(zoom_calls(stack), ["create_meeting 401"]);

        // The event is slower: Zoom's refusal of the refresh says it first.
        let slower = Host::connected(stack).await?;
        let hanging = Hanging::create(stack, &slower, create()).await?;
        stack.zoom().deauthorize(&slower.zoom_email)?;
        assert_eq!(hanging.release(stack).await?.code(), (403, "zoom_expired"));
        assert_eq!(zoom_calls(stack), ["create_meeting 401", "token_refresh 400"]);
        assert_eq!(deliver_events(stack).await?, 1);

        for host in [host, slower] {
            assert_eq!(host.state().await?.0, "not_connected");
            assert_eq!((host.sessions().await?, kept(stack, &host).await?), (0, 0));
        }

        // The meeting was made before: it is there, and so is the session.
        let host = Host::connected(stack).await?;
        let hanging = Hanging::create(stack, &host, create().after_acting()).await?;
        stack.zoom().deauthorize(&host.zoom_email)?;
        assert_eq!(deliver_events(stack).await?, 1);
        let session = hanging.release(stack).await?.ok()?;
        let meeting = stack
            .zoom()
            .meeting(session["provider_meeting_id"].as_str().unwrap_or_default())?;
        assert_eq!((meeting.host, host.sessions().await?), (host.zoom_email, 1));
        Ok(())
    })
}

#[test]
fn disconnecting_takes_the_tokens_away_whatever_zoom_says() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let at_revoke = || Fault::at(Endpoint::Revoke);
        for (what, fault) in [
            ("500", at_revoke().answering(Answer::empty(500))),
            ("502 in HTML", at_revoke().answering(Answer::bad_gateway())),
            ("dropped before Zoom acted", at_revoke().dropping()),
            ("dropped after Zoom acted", at_revoke().after_acting().dropping()),
            (
                "our configuration",
                at_revoke().answering(Answer::oauth_error(400, "invalid_client", "Invalid client_id")),
            ),
        ] {
            let host = Host::connected(stack).await?;
            stack.zoom().order(fault)?;
            let logged = stack.logs().len();
            host.disconnect().await?;
            assert_eq!(kept(stack, &host).await?, 0, "{what}");
            assert_eq!(host.state().await?.0, "not_connected", "{what}");
            let logs = stack.logs().split_off(logged);
            assert!(logs.iter().any(|line| line.contains("revocation_failed")), "{what}");
        }

        // What the tokens are worth decides what it takes to revoke them.
        let host = Host::connected(stack).await?;
        host.let_access_token_run_out(stack).await?;
        stack.zoom().clear_calls();
        host.disconnect().await?;
        assert_eq!(zoom_calls(stack), ["token_refresh 200", "revoke 200"]);
        assert_eq!(host.live_tokens(stack).len(), 0);

        let host = Host::connected(stack).await?;
        host.let_access_token_run_out(stack).await?;
        stack.zoom().revoke_tokens(&host.zoom_email)?;
        stack.zoom().clear_calls();
        host.disconnect().await?;
        assert_eq!(zoom_calls(stack), ["token_refresh 400"]);

        let host = Host::connected(stack).await?;
        stack.zoom().revoke_tokens(&host.zoom_email)?;
        let logged = stack.logs().len();
        stack.zoom().clear_calls();
        host.disconnect().await?;
        let calls = ["revoke 400", "token_refresh 400"];
        assert_eq!(zoom_calls(stack), calls, "there is nothing left to revoke");
        assert!(!stack
            .logs()
            .split_off(logged)
            .iter()
            .any(|line| line.contains("revocation_failed")));
        // An access token can die before its hour is over, and the grant live on.
        let host = Host::connected(stack).await?;
        host.let_zoom_refuse_the_access_token(stack)?;
        stack.zoom().clear_calls();
        host.disconnect().await?;
        assert_eq!(zoom_calls(stack), ["revoke 400", "token_refresh 200", "revoke 200"]);
        assert_eq!(host.live_tokens(stack).len(), 0);
        // Twice is no mistake.
        stack.zoom().clear_calls();
        host.disconnect().await?;
        assert_eq!(zoom_calls(stack).len(), 0);
        Ok(())
    })
}

#[test]
fn a_disconnect_that_dies_half_way_is_finished_by_zoom_sync() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let host = Host::connected(stack).await?;
        stack.zoom().clear_calls();
        // Zoom never hears of it.
        stack
            .zoom()
            .order(Fault::at(Endpoint::Revoke).delayed(Duration::from_secs(60)).dropping())?;
        let caller = host.clone();
        let disconnecting = tokio::spawn(async move { caller.disconnect().await });
        stack
            .zoom()
            .wait_for("the revocation", |calls| calls.len() == 1)
            .await?;
        stack.kill_worker(0).await?;
        assert!(disconnecting.await?.is_err());
        stack.restart_worker(0).await?;
        assert_eq!(host.state().await?.0, "not_connected", "here it has ended already");
        assert_eq!(host.live_tokens(stack), ["refresh", "access"]);

        assert_eq!(
            as_service(stack, "zoom-sync").await?["revocations"],
            json!({"forgotten": 0}),
            "not yet given up"
        );
        stack.travel(TimeDelta::minutes(2)).await?;
        assert_eq!(
            as_service(stack, "zoom-sync").await?["revocations"],
            json!({"forgotten": 1})
        );
        assert_eq!(host.live_tokens(stack).len(), 0);
        assert_eq!(kept(stack, &host).await?, 0);
        Ok(())
    })
}

/// A host forwards the link to the consent page, and somebody else allows it.
#[test]
fn a_forwarded_consent_link_connects_nobody() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let (asker, victim) = (Host::new(stack).await?, Host::connected(stack).await?);
        let started = asker.user.call("zoom-oauth-start", &json!({})).await?.ok()?;
        let callback = asker.user.consent(&started, &victim.zoom_email, "allow").await?;
        let page = victim.user.browse(&callback).await?;
        let handle = page.handle().context("a handle")?;

        // The asker knows the state, and tries it with other codes. The right call gives the same handle again.
        let (address, _) = callback.split_once('?').context("a query")?;
        let state = callback
            .split(['?', '&'])
            .find(|part| part.starts_with("state="))
            .context("a state")?;
        for query in [
            format!("code=x&{state}"),
            format!("code=&{state}"),
            state.to_owned(),
            format!("error=access_denied&{state}"),
        ] {
            let tried = asker.user.browse(&format!("{address}?{query}")).await?;
            assert!(tried.handle().is_none(), "{query}");
            assert!(tried.text.contains("error=invalid_state"), "{query}: {}", tried.text);
        }
        assert_eq!(victim.user.browse(&callback).await?.handle(), Some(handle.clone()));

        // The browser that allowed is the victim's: their app confirms nothing with it, and the asker has no handle.
        assert_eq!(
            victim.user.confirm(&handle).await?.code(),
            (404, "connection_not_confirmable")
        );
        assert_eq!(asker.state().await?.0, "not_connected");
        assert_eq!(asker.create().await?.code(), (403, "zoom_not_connected"));
        // Zoom has ended what the victim had at this consent: they are told so when they use it, and reconnect.
        assert_eq!(victim.create().await?.code(), (403, "zoom_expired"));
        victim.connect().await?;
        assert_eq!(victim.create().await?.code(), (200, "ok"));

        // After a quarter of an hour nothing of the old consent is left, and the victim's connection works.
        stack.travel(TimeDelta::minutes(15)).await?;
        as_service(stack, "zoom-sync").await?;
        deliver_events(stack).await?;
        assert_eq!(victim.state().await?.0, "connected");
        assert_eq!(victim.create().await?.code(), (200, "ok"));
        assert_eq!(
            asker.user.confirm(&handle).await?.code(),
            (404, "connection_not_confirmable")
        );

        // Of a Zoom user who is connected nowhere here, nothing lives on.
        let lost = Host::new(stack).await?;
        let started = asker.user.call("zoom-oauth-start", &json!({})).await?.ok()?;
        let callback = asker.user.consent(&started, &lost.zoom_email, "allow").await?;
        lost.user.browse(&callback).await?;
        assert_eq!(lost.live_tokens(stack), ["refresh", "access"]);
        stack.travel(TimeDelta::minutes(15)).await?;
        as_service(stack, "zoom-sync").await?;
        assert_eq!(lost.live_tokens(stack).len(), 0);
        Ok(())
    })
}
