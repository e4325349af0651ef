//! How a meeting behaves: as the installation says, as the host says for one session, and as the account's locks have
//! it.

use crate::support::{new_session, User};
use anyhow::Result;
use local_stack::zoom::NewUser;
use local_stack::{Stack, StackOptions};
use serde_json::{json, Map, Value};

type Settings = Vec<(&'static str, bool)>;

/// What hosts have set in Zoom: the simulator's.
const OWN: [(&str, bool); 5] = [
    ("waiting_room", false),
    ("join_before_host", true),
    ("mute_upon_entry", false),
    ("host_video", false),
    ("participant_video", false),
];

fn with(changes: &[(&str, bool)], base: &[(&str, bool)]) -> Map<String, Value> {
    let all = base.iter().chain(changes);
    all.map(|(name, on)| ((*name).to_owned(), json!(on))).collect()
}

/// The five settings of a new session, as the answer has them; Zoom has the same.
async fn created(stack: &Stack, host: &User, settings: Value) -> Result<Map<String, Value>> {
    let session = host
        .call("create-session", &new_session(json!({"settings": settings})))
        .await?
        .ok()?;
    let meeting = stack
        .zoom()
        .meeting(session["provider_meeting_id"].as_str().unwrap_or_default())?;
    let shown = session["settings"].as_object().cloned().unwrap_or_default();
    for (name, on) in &shown {
        assert_eq!(meeting.settings.get(name), Some(on), "{name}");
    }
    let row = host
        .select(&format!(
            "video_sessions?id=eq.{}&select=settings",
            session["id"].as_str().unwrap_or_default()
        ))
        .await?;
    assert_eq!(row.json[0]["settings"], session["settings"]);
    assert_eq!(shown.len(), OWN.len(), "{shown:?}");
    Ok(shown)
}

#[tokio::test]
async fn the_installation_chooses_and_a_session_chooses_otherwise() -> Result<()> {
    const DEFAULT: [(&str, bool); 3] = [
        ("waiting_room", true),
        ("join_before_host", false),
        ("mute_upon_entry", true),
    ];
    // What the installation says, what the session says, and what comes of it beside what the host has in Zoom.
    let cases: [(&str, Value, Settings); 5] = [
        ("", json!({}), DEFAULT.to_vec()),
        (
            "",
            json!({"waiting_room": "host", "host_video": true}),
            [&DEFAULT[1..], &[("host_video", true)]].concat(),
        ),
        ("host", json!({}), vec![]),
        ("host", json!({"waiting_room": true}), vec![("waiting_room", true)]),
        (
            "waiting_room=host,mute_upon_entry=off,participant_video=on",
            json!({}),
            vec![
                ("join_before_host", false),
                ("mute_upon_entry", false),
                ("participant_video", true),
            ],
        ),
    ];
    for (installation, session, expected) in cases {
        let stack = Stack::start(StackOptions {
            env: [("ZOOM_MEETING_SETTINGS".to_owned(), installation.to_owned())].into(),
            ..StackOptions::default()
        })
        .await?;
        let trainer = User::sign_in(&stack, "trainer").await?;
        trainer.connect_zoom("trainer@zoom.test").await?;
        let found = created(&stack, &trainer, session.clone()).await?;
        assert_eq!(found, with(&expected, &OWN), "{installation:?}, {session}");
        stack.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_an_account_has_locked_is_shown_as_it_is() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    let locked = [("waiting_room", false), ("mute_upon_entry", false)];
    stack.zoom().create_user(NewUser {
        locked_settings: with(&locked, &[]),
        ..NewUser::named("locked@zoom.test")
    })?;
    trainer.connect_zoom("locked@zoom.test").await?;
    let found = created(&stack, &trainer, json!({"waiting_room": true, "host_video": true})).await?;
    let expected = [locked.as_slice(), &[("join_before_host", false), ("host_video", true)]].concat();
    assert_eq!(found, with(&expected, &OWN));
    let wrong = new_session(json!({"settings": {"waiting_room": "on"}}));
    let refused = trainer.call("create-session", &wrong).await?;
    assert_eq!(refused.code(), (400, "invalid_request"));
    stack.stop().await
}
