//! One refresh at a time: Zoom's refresh tokens work once, and the functions share no memory.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::connection::{self, address_of_worker, until, zoom_calls, Host};
use crate::support::on_shared_stack;
use crate::support::Reply;
use anyhow::Result;
use futures_util::future::try_join_all;
use local_stack::zoom::{Answer, Endpoint, Fault, Grant, Moment, RecordedCall, Target, TokenStatus};
use local_stack::{GatewayFault, Stack, StackOptions};
use serde_json::json;

/// Three processes, which have nothing in common but the database.
fn options() -> StackOptions {
    StackOptions {
        worker_processes: 3,
        ..connection::options()
    }
}

/// The refreshes among calls, and whether Zoom acted.
fn refreshes(calls: &[RecordedCall]) -> Vec<bool> {
    let refreshes = calls.iter().filter(|call| call.grant == Some(Grant::RefreshToken));
    refreshes.map(|call| call.acted).collect()
}

async fn create_at_once(host: &Host, times: usize) -> Result<Vec<Reply>> {
    try_join_all((0..times).map(|_| host.create())).await
}

/// How often each answer came.
fn counts(replies: &[Reply]) -> BTreeMap<(u16, &str), usize> {
    let mut counts = BTreeMap::new();
    for reply in replies {
        *counts.entry(reply.code()).or_default() += 1;
    }
    counts
}

fn live_meetings(stack: &Stack, host: &Host) -> usize {
    let meetings = stack.zoom().live_meetings();
    meetings
        .iter()
        .filter(|meeting| meeting.host == host.zoom_email)
        .count()
}

#[test]
fn a_hundred_creates_in_three_processes_share_one_refresh() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let host = Host::connected(stack).await?;
        host.let_access_token_run_out(stack).await?;
        stack.zoom().clear_calls();
        let replies = create_at_once(&host, 100).await?;
        assert_eq!(counts(&replies), BTreeMap::from([((200, "ok"), 100)]));
        assert_eq!(refreshes(&stack.zoom().calls()), [true]);
        assert_eq!((host.sessions().await?, live_meetings(stack, &host)), (100, 100));
        Ok(())
    })
}

/// Callers who wait while somebody else refreshes.
const WAITING: usize = 99;

/// A refresh hangs, as `fault` says, in a process that is killed then; all other callers wait in the other two. Gives
/// what they heard once the lease has run out.
async fn kill_the_holder(stack: &Stack, host: &Host, fault: Fault) -> Result<Vec<Reply>> {
    host.let_access_token_run_out(stack).await?;
    stack.zoom().clear_calls();
    let acts = fault.moment == Moment::After;
    stack.zoom().order(fault)?;
    let holder = tokio::spawn(host.create_at(&address_of_worker(stack, 0)?));
    let hangs = |calls: &[RecordedCall]| refreshes(calls) == [acts];
    stack.zoom().wait_for("the holder's refresh", hangs).await?;
    stack.kill_worker(0).await?;
    assert!(holder.await?.is_err(), "the holder's caller hears nothing");
    // Time enough for the slowest machine.
    host.store(stack, "lease_until = lease_until + interval '1 hour'")
        .await?;

    let polls = || {
        let requests = stack.gateway().requests().into_iter();
        requests
            .filter(|request| request.path.ends_with("edge_token_claim"))
            .count()
    };
    let (waiting, before) = (host.clone(), polls());
    let waiting = tokio::spawn(async move { create_at_once(&waiting, WAITING).await });
    until("all of them have asked again", async || {
        Ok(polls() >= before + 2 * WAITING)
    })
    .await?;
    assert!(hangs(&stack.zoom().calls()), "nobody asks Zoom while the lease holds");
    // Not by a travel: Zoom's clock would follow the database's, and find the new token older than it is.
    host.store(stack, "lease_until = now()").await?;
    let replies = waiting.await??;
    stack.restart_worker(0).await?;
    Ok(replies)
}

#[test]
fn a_holder_that_dies_before_zoom_acts_costs_nothing_but_time() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let host = Host::connected(stack).await?;
        let never = Fault::at(Target::TOKEN_REFRESH)
            .delayed(Duration::from_secs(60))
            .dropping();
        let replies = kill_the_holder(stack, &host, never).await?;
        assert_eq!(counts(&replies), BTreeMap::from([((200, "ok"), WAITING)]));
        assert_eq!(refreshes(&stack.zoom().calls()), [false, true]);
        assert_eq!(live_meetings(stack, &host), WAITING);
        assert_eq!(host.state().await?.0, "connected");
        assert_eq!(host.live_tokens(stack), ["refresh", "access"]);
        Ok(())
    })
}

#[test]
fn a_holder_that_dies_after_zoom_acted_ends_in_one_honest_verdict() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let host = Host::connected(stack).await?;
        let lost = Fault::at(Target::TOKEN_REFRESH).after_acting().hanging();
        let replies = kill_the_holder(stack, &host, lost).await?;
        assert_eq!(counts(&replies), BTreeMap::from([((403, "zoom_expired"), WAITING)]));
        // One more use of the spent token, by which the truth is learnt, and never again.
        assert_eq!(refreshes(&stack.zoom().calls()), [true, false]);
        assert_eq!(host.create().await?.code(), (403, "zoom_expired"));
        assert_eq!(host.refresh().await?.ok()?["state"], "expired");
        assert_eq!(refreshes(&stack.zoom().calls()), [true, false]);
        assert_eq!(host.state().await?, ("expired".to_owned(), "revoked".to_owned()));
        assert_eq!(live_meetings(stack, &host), 0);

        host.connect().await?;
        assert_eq!(host.create().await?.code(), (200, "ok"));
        Ok(())
    })
}

#[test]
fn new_tokens_are_offered_to_the_database_until_it_takes_them() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let commit = || GatewayFault::at_step("edge_refresh_commit");
        let overloaded = Answer::json(
            503,
            json!({"code": "PGRST003", "message": "Timed out acquiring connection"}),
        );
        for (what, faults) in [
            (
                "not saved",
                vec![
                    commit().dropping(),
                    commit().answering(overloaded),
                    commit().answering(Answer::bad_gateway()),
                ],
            ),
            (
                "saved, and nobody hears of it",
                vec![commit().after_acting().dropping(), commit().truncating()],
            ),
        ] {
            let host = Host::connected(stack).await?;
            host.let_access_token_run_out(stack).await?;
            stack.zoom().clear_calls();
            let faults: Vec<_> = faults.into_iter().map(|fault| stack.gateway().order(fault)).collect();
            let replies = create_at_once(&host, 5).await?;
            assert_eq!(counts(&replies), BTreeMap::from([((200, "ok"), 5)]), "{what}");
            assert_eq!(refreshes(&stack.zoom().calls()), [true], "{what}");
            assert!(
                faults.iter().all(|fault| stack.gateway().happened(*fault) == Some(1)),
                "{what}"
            );
            assert_eq!(host.stored_tokens(stack).await?, Some([TokenStatus::Live; 2]), "{what}");
        }
        Ok(())
    })
}

#[test]
fn a_refused_access_token_is_refreshed_and_the_call_repeated_once() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let host = Host::connected(stack).await?;
        let zoom = stack.zoom();
        host.let_zoom_refuse_the_access_token(stack)?;
        zoom.clear_calls();
        host.create().await?.ok()?;
        assert_eq!(
            zoom_calls(stack),
            ["create_meeting 401", "token_refresh 200", "create_meeting 201"]
        );

        // Zoom's other way of saying so, and it goes on saying so.
        let refusal = Answer::api_error(400, 124, "Invalid access token.");
        let fault = zoom.order(Fault::at(Endpoint::CreateMeeting).answering(refusal).lasting())?;
        zoom.clear_calls();
        assert_eq!(host.create().await?.code(), (503, "zoom_unavailable"));
        assert_eq!(
            zoom_calls(stack),
            ["create_meeting 400", "token_refresh 200", "create_meeting 400"]
        );
        assert_eq!(host.state().await?.0, "connected");
        zoom.withdraw(fault)?;
        host.create().await?.ok()?;
        Ok(())
    })
}

#[test]
fn many_calls_with_a_refused_access_token_share_one_refresh() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let host = Host::connected(stack).await?;
        host.let_zoom_refuse_the_access_token(stack)?;
        // Long enough for all of them to ask for a token while the first one refreshes it.
        stack
            .zoom()
            .order(Fault::at(Target::TOKEN_REFRESH).delayed(Duration::from_secs(2)))?;
        stack.zoom().clear_calls();
        let replies = create_at_once(&host, 30).await?;
        assert_eq!(counts(&replies), BTreeMap::from([((200, "ok"), 30)]));
        assert_eq!(refreshes(&stack.zoom().calls()), [true]);
        assert_eq!(live_meetings(stack, &host), 30);
        Ok(())
    })
}

#[test]
fn an_access_token_with_less_than_a_minute_is_refreshed_before_its_use() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let host = Host::connected(stack).await?;
        for (left, expected) in [
            ("75 seconds", vec!["create_meeting 201"]),
            ("58 seconds", vec!["token_refresh 200", "create_meeting 201"]),
        ] {
            host.store(stack, &format!("access_token_expires_at = now() + interval '{left}'"))
                .await?;
            stack.zoom().clear_calls();
            host.create().await?.ok()?;
            assert_eq!(zoom_calls(stack), expected, "{left} left");
        }
        Ok(())
    })
}

#[test]
fn a_caller_who_goes_away_takes_no_tokens_along() -> Result<()> {
    on_shared_stack(options(), async |stack| {
        let host = Host::connected(stack).await?;
        host.let_access_token_run_out(stack).await?;
        stack.zoom().clear_calls();
        let fault = stack
            .zoom()
            .order(Fault::at(Target::TOKEN_REFRESH).after_acting().hanging())?;
        let spent = stack.zoom().wait_for("a refresh", |calls| refreshes(calls) == [true]);
        tokio::select! {
            answer = host.create_at(&address_of_worker(stack, 0)?) => panic!("answered too early: {answer:?}"),
            spent = spent => spent?,
        }
        stack.zoom().release(fault)?;
        until("the new tokens are used", async || Ok(live_meetings(stack, &host) == 1)).await?;
        host.create().await?.ok()?;
        assert_eq!(refreshes(&stack.zoom().calls()), [true]);
        Ok(())
    })
}
