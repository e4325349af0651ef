//! A run: what is asked of the database and of Zoom, and what is said of it.

use std::time::Duration;

use fakes::{claim, Answer, Fakes, Reply, USER};
use shared::zoom::connection::{access_token_context, refresh_token_context};
use uuid::Uuid;

use super::*;

const SESSION: Uuid = Uuid::from_u128(4);
const CREATION: Uuid = Uuid::from_u128(5);

async fn sync(fakes: &Fakes) -> Reply {
    fakes.call(&ENDPOINT, handle, fakes.as_service(&json!({}))).await
}

/// What the database says to do: these parts.
fn due(fakes: &Fakes, parts: &[&str]) {
    let mut due = json!({});
    for part in ["outbox", "creations", "revocations", "connections", "purge", "watch"] {
        due[part] = json!(parts.contains(&part));
    }
    fakes.on("edge_sync_due", due);
}

fn nothing_to_send() -> Value {
    json!({"tasks": [], "busy": false, "more": false, "next_due_in_ms": null, "waiting": 0})
}

fn change(kind: &str, running: bool) -> Value {
    let mut claimed = nothing_to_send();
    claimed["tasks"] = json!([{
        "task_id": 1, "user_id": USER, "session_id": SESSION, "meeting_id": "85", "kind": kind, "running": running,
        "may_end": true, "token": claim::fresh(USER, "at", 1), "desired": {"title": "New"},
    }]);
    claimed
}

fn open_creation(scheduled_start: &str) -> Value {
    json!({"creations": [{
        "creation_id": CREATION, "user_id": USER, "token": claim::fresh(USER, "at", 1),
        "request": {"scheduled_start": scheduled_start, "duration_minutes": 30},
    }]})
}

#[tokio::test]
async fn an_idle_run_asks_one_thing() {
    let fakes = Fakes::start().await;
    due(&fakes, &[]);
    let reply = sync(&fakes).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body["outbox"]["sent"], 0);
    assert_eq!(fakes.calls(), ["edge_sync_due"]);
}

#[tokio::test]
async fn a_change_is_sent_and_its_end_saved() {
    // Kind, whether the meeting goes on, Zoom's answers, and what the database hears.
    let gone = || Answer::zoom_error(404, 3001, "Meeting does not exist");
    for (kind, running, asked, result, code) in [
        (
            "update",
            false,
            vec![("PATCH /meetings/85", Answer::empty(204))],
            "done",
            Value::Null,
        ),
        (
            "update",
            false,
            vec![("PATCH /meetings/85", gone())],
            "gone",
            json!("meeting_gone"),
        ),
        (
            "update",
            false,
            vec![("PATCH /meetings/85", Answer::none())],
            "failed",
            json!("unclear"),
        ),
        (
            "update",
            true,
            vec![(
                "PATCH /meetings/85",
                Answer::zoom_error(400, 3000, "Cannot while it runs"),
            )],
            "wait",
            json!("meeting_running"),
        ),
        (
            "update",
            false,
            vec![("PATCH /meetings/85", Answer::zoom_error(400, 300, "Invalid field."))],
            "failed",
            json!("refused"),
        ),
        (
            "delete",
            false,
            vec![("DELETE /meetings/85", gone())],
            "done",
            json!("meeting_gone"),
        ),
        (
            "delete",
            true,
            vec![
                ("PUT /meetings/85/status", Answer::empty(204)),
                ("DELETE /meetings/85", Answer::empty(204)),
            ],
            "done",
            Value::Null,
        ),
        (
            "end",
            true,
            vec![("PUT /meetings/85/status", Answer::empty(204))],
            "done",
            Value::Null,
        ),
    ] {
        let fakes = Fakes::start().await;
        due(&fakes, &["outbox"]);
        fakes
            .on("edge_outbox_claim", change(kind, running))
            .always("edge_outbox_claim", |_| nothing_to_send().into())
            .on("edge_outbox_settle", json!({"outcomes": ["done"]}));
        let names: Vec<_> = asked.iter().map(|(name, _)| *name).collect();
        for (name, answer) in asked {
            fakes.on(name, answer);
        }
        assert_eq!(sync(&fakes).await.status, 200, "{kind} {names:?}");
        let told = fakes.told("edge_outbox_settle")["results"][0].clone();
        assert_eq!(
            (&told["task_id"], &told["result"]),
            (&json!(1), &json!(result)),
            "{kind} {names:?}: {told}"
        );
        assert_eq!(told["code"], code, "{kind} {names:?}");
    }
}

/// While Zoom renews a host's token, for a change that is sent, the database refuses to say what else there is.
#[tokio::test]
async fn what_is_on_its_way_is_waited_for_though_the_run_has_failed() {
    let fakes = Fakes::start().await;
    due(&fakes, &["outbox"]);
    let mut claimed = change("update", false);
    claimed["tasks"][0]["token"] = claim::busy(1);
    claimed["more"] = json!(true);
    fakes
        .on("edge_outbox_claim", claimed)
        .on("edge_outbox_claim", Answer::database_error(404, "PGRST202"))
        .on("edge_token_claim", claim::connection(&claim::refresh(USER, "rt", 1)))
        .on("token", Answer::tokens("at 2", "rt 2").after(Duration::from_secs(2)))
        .on("edge_refresh_commit", json!({"outcome": "saved", "token_version": 2}))
        .on("PATCH /meetings/85", Answer::empty(204))
        .on("edge_outbox_settle", json!({"outcomes": ["done"]}));
    assert_eq!(sync(&fakes).await.status, 500);
    assert_eq!(
        fakes.told("edge_refresh_commit")["token_version"],
        1,
        "what Zoom gave is kept"
    );
    assert_eq!(fakes.told("edge_outbox_settle")["results"][0]["result"], "done");
}

#[tokio::test]
async fn a_users_own_run_sends_their_changes_and_nothing_else() {
    let fakes = Fakes::start().await;
    fakes
        .on("edge_outbox_claim", change("update", false))
        .always("edge_outbox_claim", |_| nothing_to_send().into())
        .on("PATCH /meetings/85", Answer::empty(204))
        .on("edge_outbox_settle", json!({"outcomes": ["done"]}));
    let reply = fakes.call(&ENDPOINT, handle, fakes.as_user(&json!({}))).await;
    assert_eq!(reply.body, json!({"sent": 1, "waiting": 0}));
    let asked = fakes.sent_to("edge_outbox_claim");
    assert!(asked.iter().all(|call| call.body["only_user"] == json!(USER)));
}

#[tokio::test]
async fn a_part_that_fails_keeps_no_other_from_running() {
    let fakes = Fakes::start().await;
    due(&fakes, &["creations", "connections", "purge"]);
    fakes
        .on("edge_creations_claim", Answer::database_error(500, "P0001"))
        .on("edge_refresh_due", json!({"user_ids": [], "remaining": 0}))
        .on("edge_purge", json!({"start_urls": 1, "sessions": 2, "more": true}))
        .on("edge_purge", json!({"start_urls": 1, "sessions": 0, "more": false}));
    assert_eq!(sync(&fakes).await.code(), (500, "internal"));
    assert_eq!(fakes.sent_to("edge_purge").len(), 2, "piece by piece");
}

#[tokio::test]
async fn a_creation_that_nobody_knows_of_is_looked_for() {
    let marked = json!({"meetings": [
        {"id": 84, "agenda": "Another"}, {"id": 85, "agenda": format!("{CREATION}\nOurs")},
    ], "next_page_token": ""});
    let none = json!({"meetings": [], "next_page_token": ""});
    let meeting =
        json!({"id": 85, "uuid": "u==", "join_url": "https://zoom.test/j/85", "start_url": "https://zoom.test/s/85"});
    let connection = || claim::connection(&claim::fresh(USER, "at", 1));
    for (start, page, counted, last) in [
        (
            "2099-01-01T00:00:00Z",
            marked.clone(),
            "adopted",
            "edge_session_complete",
        ),
        ("2020-01-01T00:00:00Z", marked, "deleted", "edge_session_fail"),
        ("2099-01-01T00:00:00Z", none, "failed", "edge_session_fail"),
    ] {
        let fakes = Fakes::start().await;
        due(&fakes, &["creations"]);
        fakes
            .on("edge_creations_claim", open_creation(start))
            .on("GET /users/me/meetings", page);
        match counted {
            "adopted" => fakes
                .on("edge_token_claim", connection())
                .on("GET /meetings/85", meeting.clone())
                .on(last, json!({"outcome": "created"})),
            "deleted" => fakes
                .on("edge_token_claim", connection())
                .on("DELETE /meetings/85", Answer::empty(204))
                .on(last, json!({"outcome": "closed"})),
            _ => fakes.on(last, json!({"outcome": "closed"})),
        };
        let reply = sync(&fakes).await;
        assert_eq!(reply.body["creations"][counted], 1, "{counted}: {}", reply.body);
        assert_eq!(fakes.calls().last().map(String::as_str), Some(last));
    }
}

#[tokio::test]
async fn what_was_left_is_revoked_and_forgotten() {
    let fakes = Fakes::start().await;
    due(&fakes, &["revocations"]);
    fakes
        .on(
            "edge_revocations_claim",
            json!({"revocations": [{
                "revocation_id": CREATION, "user_id": USER, "fresh": true,
                "access_token": claim::seal(access_token_context(USER), "at"),
                "refresh_token": claim::seal(refresh_token_context(USER), "rt"),
            }]}),
        )
        .on("revoke", json!({"status": "success"}))
        .on("edge_disconnect_complete", json!({"outcome": "forgotten"}));
    assert_eq!(sync(&fakes).await.body["revocations"], json!({"forgotten": 1}));
}

#[tokio::test]
async fn zoom_is_asked_what_no_event_has_said() {
    let asked_at = "2026-03-01T12:00:00.123456+00:00";
    let meeting = json!({"id": 85, "uuid": "u==", "status": "waiting", "topic": "T", "duration": 30});
    for (answer, saved, said, counts) in [
        (Answer::json(200, &meeting), "found", "found", (1, 0)),
        (
            Answer::zoom_error(404, 3001, "Meeting does not exist"),
            "gone",
            "gone",
            (1, 0),
        ),
        (
            Answer::zoom_error(400, 3000, "A webinar"),
            "no_meeting",
            "no_meeting",
            (1, 0),
        ),
        (Answer::none(), "postponed", "failed", (0, 1)),
    ] {
        let fakes = Fakes::start().await;
        due(&fakes, &["watch"]);
        fakes
            .on(
                "edge_watch_claim",
                json!({"asked_at": asked_at, "more": false, "lists": [], "questions": [{
                    "session_id": SESSION, "user_id": USER, "zoom_user_id": "z", "meeting_id": "85",
                    "token": claim::fresh(USER, "at", 1),
                }]}),
            )
            .on("GET /meetings/85", answer)
            .on("edge_watch_save", json!({"outcome": saved}));
        let watched = sync(&fakes).await.body["watch"].clone();
        assert_eq!(
            (&watched["asked"], &watched["postponed"]),
            (&json!(counts.0), &json!(counts.1)),
            "{said}"
        );
        let told = fakes.told("edge_watch_save");
        assert_eq!(
            (&told["asked_at"], &told["answer"]["outcome"]),
            (&json!(asked_at), &json!(said))
        );
    }
}

#[tokio::test]
async fn a_list_is_read_to_its_end() {
    let fakes = Fakes::start().await;
    due(&fakes, &["watch"]);
    fakes
        .on(
            "edge_watch_claim",
            json!({"asked_at": "2026-03-01T12:00:00+00:00", "more": false, "questions": [], "lists": [{
                "user_id": USER, "zoom_user_id": "z", "token": claim::fresh(USER, "at", 1),
            }]}),
        )
        .on(
            "GET /users/me/meetings",
            json!({"meetings": [{"id": 1}], "next_page_token": "a b"}),
        )
        .on(
            "GET /users/me/meetings",
            json!({"meetings": [{"id": 2}], "next_page_token": ""}),
        )
        .on("edge_watch_save_list", json!({"missing": 1}));
    let watched = sync(&fakes).await.body["watch"].clone();
    assert_eq!(watched, json!({"asked": 0, "lists": 1, "missing": 1, "postponed": 0}));
    let told = fakes.told("edge_watch_save_list");
    let numbers: Vec<_> = told["meetings"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|meeting| &meeting["id"])
        .collect();
    assert_eq!(
        (numbers, &told["is_whole"]),
        (vec![&json!("1"), &json!("2")], &json!(true))
    );
    let pages = fakes.sent_to("GET /users/me/meetings");
    assert!(
        pages[1].query.contains("next_page_token=%61%20%62"),
        "{}",
        pages[1].query
    );
}
