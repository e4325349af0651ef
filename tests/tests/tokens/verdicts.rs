//! What Zoom's answers mean for a connection: who has to reconnect, who has to wait, and what is our own fault.

use std::time::Duration;

use crate::support::connection::{as_service, zoom_calls, Host};
use crate::support::on_shared_stack;
use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use local_stack::zoom::{Answer, AppAccess, Endpoint, Fault, Target, Truncation, CLASSIC_SCOPES, GRANULAR_SCOPES};
use local_stack::{EdgeRuntime, GatewayFault, Stack, StackOptions};
use serde_json::{json, Value};

/// What becomes of a connection whose refresh went wrong.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It has ended, for this reason: nobody asks Zoom again.
    Ended(&'static str),
    /// It lives on. Nobody asks Zoom for so many seconds, after which all is well.
    Waits(i64),
    /// The same, but Zoom had acted, and what it gave is lost: asked once more, it says so, and the connection has
    /// ended.
    IsLost(i64),
    /// As `Waits`, and the first to hear of it hears that the service is not set up correctly.
    IsOurFault(i64),
}
use Fate::{Ended, IsLost, IsOurFault, Waits};

/// The cool-down where Zoom does not say how long to wait.
const COOLDOWN: i64 = 30;

fn answers(answer: Answer) -> Fault {
    Fault::at(Target::TOKEN_REFRESH).answering(answer)
}

fn refuses(status: u16, error: &str, reason: &str) -> Fault {
    answers(Answer::oauth_error(status, error, reason))
}

fn rows() -> Vec<(&'static str, Fault, Fate)> {
    let in_seconds = |seconds| (Utc::now() + TimeDelta::seconds(seconds)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let too_many = || Answer::json(429, json!({"code": 429, "message": "Too many requests"}));
    let html = "<html><body>Welcome to the airport</body></html>";
    let xml = "<?xml version=\"1.0\"?><error>invalid_grant</error>";
    let halved = json!({"access_token": "a", "token_type": "bearer", "expires_in": 3599, "scope": "user:read:user"});
    vec![
        (
            "400 invalid_grant",
            refuses(400, "invalid_grant", "Invalid Token!"),
            Ended("revoked"),
        ),
        (
            "401 invalid_grant",
            refuses(401, "invalid_grant", "Invalid Token!"),
            Ended("revoked"),
        ),
        (
            "invalid_request for a token",
            refuses(400, "invalid_request", "Invalid Token!"),
            Ended("revoked"),
        ),
        (
            "4733",
            refuses(400, "invalid_grant", "Authorization code has expired. (4733)"),
            Ended("revoked"),
        ),
        (
            "4734",
            refuses(400, "invalid_request", "4734: invalid authorization code"),
            Ended("revoked"),
        ),
        (
            "4735",
            refuses(400, "invalid_grant", "The owner of the token does not exist. (4735)"),
            Ended("owner_gone"),
        ),
        (
            "4735 dressed otherwise",
            refuses(401, "invalid_request", "4735"),
            Ended("owner_gone"),
        ),
        (
            "4737",
            refuses(400, "invalid_grant", "Token could not be found. (4737)"),
            Ended("revoked"),
        ),
        (
            "4738",
            refuses(400, "invalid_grant", "The app was disabled. (4738)"),
            Ended("disabled_by_admin"),
        ),
        (
            "4738 dressed otherwise",
            refuses(400, "invalid_request", "[4738]"),
            Ended("disabled_by_admin"),
        ),
        (
            "4741",
            refuses(400, "invalid_grant", "Superseded. (4741)"),
            Ended("superseded"),
        ),
        (
            "4741 dressed otherwise",
            refuses(401, "invalid_request", "code=4741"),
            Ended("superseded"),
        ),
        (
            "a bare invalid_request",
            refuses(400, "invalid_request", "Missing grant type."),
            IsOurFault(60),
        ),
        (
            "400 invalid_client",
            refuses(400, "invalid_client", "Invalid client_id or client_secret"),
            IsOurFault(60),
        ),
        (
            "401 invalid_client",
            refuses(401, "invalid_client", "Invalid client_id or client_secret"),
            IsOurFault(60),
        ),
        (
            "unauthorized_client",
            refuses(400, "unauthorized_client", ""),
            IsOurFault(60),
        ),
        (
            "an error nobody knows",
            refuses(400, "something_new", "Invalid Token! (4738)"),
            Ended("disabled_by_admin"),
        ),
        ("403", refuses(403, "invalid_grant", "Invalid Token!"), Waits(COOLDOWN)),
        ("404", answers(Answer::empty(404)), Waits(COOLDOWN)),
        (
            "429 until an instant",
            answers(too_many().with_header("retry-after", in_seconds(3_600))),
            Waits(3_600),
        ),
        (
            "429 until next week",
            answers(too_many().with_header("retry-after", in_seconds(604_800))),
            Waits(86_400),
        ),
        ("429 that names no time", answers(too_many()), Waits(2)),
        ("500", answers(Answer::empty(500)), Waits(COOLDOWN)),
        (
            "500 that talks of a grant",
            refuses(500, "invalid_grant", "Invalid Token!"),
            Waits(COOLDOWN),
        ),
        (
            "500 after Zoom acted",
            answers(Answer::empty(500)).after_acting(),
            IsLost(COOLDOWN),
        ),
        ("502 in HTML", answers(Answer::bad_gateway()), Waits(COOLDOWN)),
        (
            "502 in HTML after Zoom acted",
            answers(Answer::bad_gateway()).after_acting(),
            IsLost(COOLDOWN),
        ),
        (
            "XML with 400",
            answers(Answer::text(400, "text/xml", xml)),
            Waits(COOLDOWN),
        ),
        (
            "XML with 401",
            answers(Answer::text(401, "text/xml", xml)),
            Waits(COOLDOWN),
        ),
        (
            "HTML with 200",
            answers(Answer::text(200, "text/html", html)),
            Waits(COOLDOWN),
        ),
        (
            "an empty 200",
            answers(Answer::empty(200)).after_acting(),
            IsLost(COOLDOWN),
        ),
        (
            "no refresh token in it",
            answers(Answer::json(200, halved)).after_acting(),
            IsLost(COOLDOWN),
        ),
        (
            "JSON cut off",
            Fault::at(Target::TOKEN_REFRESH).truncating(Truncation::Fitting),
            IsLost(COOLDOWN),
        ),
        (
            "an answer that breaks off",
            Fault::at(Target::TOKEN_REFRESH).truncating(Truncation::Broken),
            IsLost(COOLDOWN),
        ),
        (
            "dropped before Zoom acted",
            Fault::at(Target::TOKEN_REFRESH).dropping(),
            Waits(COOLDOWN),
        ),
        (
            "dropped after Zoom acted",
            Fault::at(Target::TOKEN_REFRESH).after_acting().dropping(),
            IsLost(COOLDOWN),
        ),
    ]
}

/// Instants that Zoom names are counted from when a test wrote them down.
fn is_about(seconds: i64, found: i64) -> bool {
    (seconds - seconds / 20..=seconds).contains(&found)
}

/// A host in one row of the table.
struct Case {
    what: &'static str,
    fate: Fate,
    host: Host,
}

impl Case {
    /// A host whose next call has to refresh the access token first.
    async fn new(stack: &Stack, what: &'static str, fate: Fate) -> Result<Self> {
        let host = Host::connected(stack).await?;
        host.let_access_token_run_out(stack).await?;
        Ok(Self { what, fate, host })
    }

    /// Checks what the next call hears, and how many refreshes and meetings it asks of Zoom. Gives its `Retry-After`.
    async fn expect(&self, stack: &Stack, answer: (u16, &str), asked: [usize; 2]) -> Result<i64> {
        stack.zoom().clear_calls();
        let reply = self.host.create().await.with_context(|| self.what)?;
        let calls = zoom_calls(stack);
        assert_eq!(reply.code(), answer, "{}: {calls:?}", self.what);
        let count = |what: &str| calls.iter().filter(|call| call.starts_with(what)).count();
        assert_eq!(
            [count("token_refresh"), count("create_meeting")],
            asked,
            "{}: {calls:?}",
            self.what
        );
        assert_eq!(calls.len(), asked[0] + asked[1], "{}: {calls:?}", self.what);
        Ok(reply.header("retry-after").parse().unwrap_or(0))
    }

    /// The first call, into the fault.
    async fn first_call(&self, stack: &Stack) -> Result<()> {
        let answer = match self.fate {
            Ended(_) => (403, "zoom_expired"),
            Waits(_) | IsLost(_) => (503, "zoom_unavailable"),
            IsOurFault(_) => (500, "misconfigured"),
        };
        let retry_after = self.expect(stack, answer, [1, 0]).await?;
        if let Waits(seconds) | IsLost(seconds) = self.fate {
            assert!(is_about(seconds, retry_after), "{}: {retry_after}", self.what);
        }
        Ok(())
    }

    /// Everything after the first call.
    async fn aftermath(&self, stack: &Stack) -> Result<()> {
        let seconds = match self.fate {
            Ended(reason) => return self.has_ended(stack, reason).await,
            Waits(seconds) | IsLost(seconds) | IsOurFault(seconds) => seconds,
        };
        assert_eq!(
            self.host.state().await?,
            ("connected".to_owned(), String::new()),
            "{}",
            self.what
        );
        let stored = self.host.stored(stack).await?;
        let instant =
            |name: &str| Ok::<DateTime<Utc>, anyhow::Error>(stored[name].as_str().context("an instant")?.parse()?);
        let cooldown = instant("cooldown_until")? - instant("updated_at")?;
        assert!(is_about(seconds, cooldown.num_seconds()), "{}: {cooldown}", self.what);
        // Longer than the slowest machine needs to call again.
        self.host
            .store(stack, "cooldown_until = cooldown_until + interval '1 day'")
            .await?;
        let retry_after = self.expect(stack, (503, "zoom_unavailable"), [0, 0]).await?;
        assert!(retry_after > 80_000, "{}: {retry_after}", self.what);
        self.host.store(stack, "cooldown_until = now()").await?;
        if let IsLost(_) = self.fate {
            self.expect(stack, (403, "zoom_expired"), [1, 0]).await?;
            return self.has_ended(stack, "revoked").await;
        }
        self.expect(stack, (200, "ok"), [1, 1]).await?;
        Ok(())
    }

    /// The connection has ended and says so, nothing of it is kept, and Zoom is left alone.
    async fn has_ended(&self, stack: &Stack, reason: &str) -> Result<()> {
        assert_eq!(
            self.host.state().await?,
            ("expired".to_owned(), reason.to_owned()),
            "{}",
            self.what
        );
        let stored = self.host.stored(stack).await?;
        assert_eq!(stored["expired_reason"], reason, "{}", self.what);
        for gone in ["access_token", "refresh_token", "lease_until", "cooldown_until"] {
            assert_eq!(stored[gone], Value::Null, "{}: {gone}", self.what);
        }
        self.expect(stack, (403, "zoom_expired"), [0, 0]).await?;
        stack.zoom().clear_calls();
        assert_eq!(self.host.refresh().await?.ok()?["state"], "expired", "{}", self.what);
        assert_eq!(zoom_calls(stack).len(), 0, "{}", self.what);
        Ok(())
    }
}

#[test]
fn every_answer_to_a_refresh_has_its_verdict() -> Result<()> {
    on_shared_stack(StackOptions::default(), async |stack| {
        // Those that take their time, while the others run.
        let late = Fault::at(Target::TOKEN_REFRESH)
            .delayed(Duration::from_secs(20))
            .dropping();
        let never = Fault::at(Target::TOKEN_REFRESH).after_acting().hanging();
        let slow = [
            ("no answer, Zoom never acts", late, Waits(COOLDOWN)),
            ("no answer, Zoom acted", never, IsLost(COOLDOWN)),
        ];
        let mut waiting = Vec::new();
        for (what, fault, fate) in slow {
            let case = Case::new(stack, what, fate).await?;
            stack.zoom().clear_calls();
            stack.zoom().order(fault)?;
            let host = case.host.clone();
            waiting.push((case, tokio::spawn(async move { host.create().await })));
            stack.zoom().wait_for("the refresh", |calls| calls.len() == 1).await?;
        }
        let unsaved = Case::new(stack, "new tokens that the database never takes", IsLost(0)).await?;
        let commit = GatewayFault::at_step("edge_refresh_commit").about(&unsaved.host.user.id());
        stack.gateway().order(commit.answering(Answer::empty(503)).lasting());
        let host = unsaved.host.clone();
        stack.zoom().clear_calls();
        let not_saved = tokio::spawn(async move { host.create().await });
        stack
            .zoom()
            .wait_for("the refresh", |calls| calls.iter().any(|call| call.acted))
            .await?;

        let rows = rows();
        assert_eq!(rows.len(), 36);
        for (what, fault, fate) in rows {
            let case = Case::new(stack, what, fate).await?;
            let fault = stack.zoom().order(fault)?;
            case.first_call(stack).await?;
            assert_eq!(stack.zoom().happened(fault), Some(1), "{what}");
            case.aftermath(stack).await?;
        }

        for (case, first_call) in waiting {
            assert_eq!(first_call.await??.code(), (503, "zoom_unavailable"), "{}", case.what);
            case.aftermath(stack).await?;
        }
        assert_eq!(not_saved.await??.code(), (503, "service_unavailable"));
        stack.gateway().withdraw_all();
        assert_eq!(unsaved.host.state().await?.0, "connected");
        unsaved.host.store(stack, "lease_until = now()").await?;
        unsaved.expect(stack, (403, "zoom_expired"), [1, 0]).await?;
        unsaved.has_ended(stack, "revoked").await
    })
}

/// The same where Zoom's own state is the reason, and not an answer that a test puts in its mouth.
#[test]
fn what_happens_at_zoom_is_told_as_what_it_is() -> Result<()> {
    on_shared_stack(StackOptions::default(), async |stack| {
        let zoom = stack.zoom();
        let disabled = Case::new(stack, "disabled by an administrator", Ended("disabled_by_admin")).await?;
        zoom.set_app_access(&disabled.host.zoom_email, AppAccess::Disabled)?;
        let revoked = Case::new(stack, "revoked, and nobody told us", Ended("revoked")).await?;
        zoom.revoke_tokens(&revoked.host.zoom_email)?;
        let gone = Case::new(stack, "the Zoom user is gone", Ended("owner_gone")).await?;
        zoom.remove_user(&gone.host.zoom_email)?;
        let idle = Case::new(stack, "the refresh token's time is over", Ended("revoked")).await?;
        zoom.expire_tokens(&idle.host.zoom_email, None)?;
        for case in [disabled, revoked, gone, idle] {
            case.first_call(stack).await?;
            case.aftermath(stack).await?;
        }

        // With an access token that is still good here, the API is the first to say so.
        let gone = Host::connected(stack).await?;
        zoom.remove_user(&gone.zoom_email)?;
        zoom.clear_calls();
        assert_eq!(gone.create().await?.code(), (403, "zoom_expired"));
        assert_eq!(zoom_calls(stack), ["create_meeting 404"]);
        assert_eq!(gone.state().await?, ("expired".to_owned(), "owner_gone".to_owned()));
        Ok(())
    })
}

#[test]
fn a_permission_that_is_lost_later_ends_the_connection_until_it_is_granted() -> Result<()> {
    on_shared_stack(StackOptions::default(), async |stack| {
        let host = Host::connected(stack).await?;
        let zoom = stack.zoom();
        zoom.set_scopes(&host.zoom_email, &["meeting:read", "user:read"])?;
        zoom.clear_calls();
        assert_eq!(host.create().await?.code(), (403, "missing_scope"));
        assert_eq!(zoom_calls(stack), ["create_meeting 400"]);
        assert_eq!(host.state().await?, ("expired".to_owned(), "missing_scope".to_owned()));
        zoom.clear_calls();
        assert_eq!(
            host.create().await?.code(),
            (403, "missing_scope"),
            "as long as it lasts"
        );
        assert_eq!(host.refresh().await?.ok()?["state"], "expired");
        assert_eq!(zoom_calls(stack).len(), 0);

        zoom.set_scopes(&host.zoom_email, &CLASSIC_SCOPES)?;
        host.connect().await?;
        assert_eq!(host.state().await?, ("connected".to_owned(), String::new()));
        assert_eq!(host.create().await?.code(), (200, "ok"));

        // Tokens that only lack a permission still work at Zoom, and have to be revoked there.
        zoom.set_scopes(&host.zoom_email, &["user:read"])?;
        assert_eq!(host.create().await?.code(), (403, "missing_scope"));
        assert_eq!(host.live_tokens(stack), ["refresh", "access"]);
        host.disconnect().await?;
        assert_eq!(host.live_tokens(stack).len(), 0);
        assert_eq!(host.stored(stack).await?, Value::Null);
        Ok(())
    })
}

#[test]
fn connecting_needs_every_permission_by_either_of_its_names() -> Result<()> {
    on_shared_stack(StackOptions::default(), async |stack| {
        let zoom = stack.zoom();
        let mixed = [
            "meeting:write",
            "meeting:read:meeting",
            "meeting:read:list_meetings",
            "user:read:user",
            "extra:scope",
        ];
        for scopes in [&GRANULAR_SCOPES[..], &CLASSIC_SCOPES, &mixed] {
            let host = Host::new(stack).await?;
            zoom.set_scopes(&host.zoom_email, scopes)?;
            host.connect().await?;
            assert_eq!(host.create().await?.code(), (200, "ok"), "{scopes:?}");
        }

        let without = |missing: &str| {
            GRANULAR_SCOPES
                .into_iter()
                .filter(|scope| *scope != missing)
                .collect::<Vec<_>>()
        };
        let write = vec![
            "meeting:write:meeting",
            "meeting:update:meeting",
            "meeting:delete:meeting",
        ];
        let read = vec!["meeting:read:meeting", "meeting:read:list_meetings"];
        let mut lacking: Vec<_> = GRANULAR_SCOPES
            .into_iter()
            .map(|scope| (without(scope), vec![scope]))
            .collect();
        lacking.push((vec!["meeting:read", "user:read"], write));
        lacking.push((vec!["meeting:write", "user:read"], read));
        lacking.push((vec!["meeting:write", "meeting:read"], vec!["user:read:user"]));
        for (granted, missing) in lacking {
            let host = Host::new(stack).await?;
            zoom.set_scopes(&host.zoom_email, &granted)?;
            let logged = stack.logs().len();
            zoom.clear_calls();
            let page = host.user.connect_zoom(&host.zoom_email).await?;
            assert!(page.text.contains("error=missing_scope"), "{granted:?}: {}", page.text);
            assert_eq!(zoom_calls(stack)[0], "token_exchange 200", "{granted:?}");
            // Where Zoom said whose they are, zoom-sync looks whether that user is connected before it revokes them.
            as_service(stack, "zoom-sync").await?;
            assert_eq!(host.live_tokens(stack).len(), 0, "{granted:?}");
            assert_eq!(host.stored(stack).await?, Value::Null, "{granted:?}");
            assert_eq!(host.state().await?.0, "not_connected", "{granted:?}");
            let expected = format!(r#""missing":{}"#, json!(missing));
            let logs = stack.logs().split_off(logged);
            assert!(
                logs.iter().any(|line| line.contains(&expected)),
                "{expected} in {logs:?}"
            );
        }
        Ok(())
    })
}

#[test]
fn every_answer_to_a_connect_leaves_a_connection_or_nothing() -> Result<()> {
    on_shared_stack(StackOptions::default(), async |stack| {
        let exchange = || Fault::at(Target::TOKEN_EXCHANGE);
        let me = || Fault::at(Endpoint::UsersMe);
        let says = |status, error, reason| exchange().answering(Answer::oauth_error(status, error, reason));
        let rows = [
            (
                "4733",
                says(400, "invalid_grant", "Authorization code has expired. (4733)"),
                "token_exchange_failed",
            ),
            (
                "4734",
                says(401, "invalid_grant", "Invalid authorization code. (4734)"),
                "token_exchange_failed",
            ),
            (
                "4709",
                says(400, "invalid_request", "Redirect URI mismatch. (4709)"),
                "token_exchange_failed",
            ),
            (
                "invalid_client",
                says(401, "invalid_client", "Invalid client_id"),
                "token_exchange_failed",
            ),
            ("429", exchange().answering(Answer::empty(429)), "zoom_unavailable"),
            ("500", exchange().answering(Answer::empty(500)), "zoom_unavailable"),
            (
                "502 in HTML",
                exchange().answering(Answer::bad_gateway()),
                "zoom_unavailable",
            ),
            (
                "JSON cut off",
                exchange().truncating(Truncation::Fitting),
                "zoom_unavailable",
            ),
            ("dropped before Zoom acted", exchange().dropping(), "zoom_unavailable"),
            (
                "dropped after Zoom acted",
                exchange().after_acting().dropping(),
                "zoom_unavailable",
            ),
            ("no user: 500", me().answering(Answer::empty(500)), "zoom_unavailable"),
            ("no user: 429", me().answering(Answer::empty(429)), "zoom_unavailable"),
            // Deno may ask again by itself.
            ("no user: dropped", me().dropping().lasting(), "zoom_unavailable"),
            (
                "no user: 403",
                me().answering(Answer::api_error(403, 200, "No permission.")),
                "token_exchange_failed",
            ),
            (
                "no user: 4711",
                me().answering(Answer::api_error(400, 4711, "does not contain scopes")),
                "missing_scope",
            ),
        ];
        for (what, fault, error) in rows {
            let host = Host::new(stack).await?;
            let fault = stack.zoom().order(fault)?;
            let page = host.user.connect_zoom(&host.zoom_email).await?;
            let happened = stack.zoom().happened(fault).unwrap_or_default();
            let may_be_repeated = what == "no user: dropped" && stack.edge_runtime() == EdgeRuntime::Deno;
            assert!(happened == 1 || may_be_repeated && happened == 2, "{what}: {happened}");
            stack.zoom().withdraw(fault)?;
            assert!(page.text.contains(&format!("error={error}")), "{what}: {}", page.text);
            assert_eq!(host.stored(stack).await?, Value::Null, "{what}");
            // What a lost answer gave is in nobody's hands; everything else is revoked.
            let lost = matches!(what, "JSON cut off" | "dropped after Zoom acted");
            assert_eq!(host.live_tokens(stack).is_empty(), !lost, "{what}");
            host.connect().await.context(what)?;
            assert_eq!(host.live_tokens(stack), ["refresh", "access"], "{what}");
        }
        Ok(())
    })
}
