//! What the tests of drift share: sessions here and meetings at Zoom side by side, and runs of `zoom-sync` until
//! nothing is due.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::LazyLock;

use anyhow::{ensure, Context, Result};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use local_stack::zoom::{NewUser, ZoomMeeting};
use local_stack::{Stack, StackOptions};
use serde_json::{json, Value};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::Client;
use uuid::Uuid;

use super::connection::Host;
use super::{new_session, Reply, User};

/// No test may need more runs of `zoom-sync` than this: whatever is open then is stuck.
pub const MOST_RUNS: usize = 80;

/// Prints, also where the output of tests that pass is not shown.
pub fn show(line: &str) {
    // Whoever closed the output does not want it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Does the same for many, so many at a time. Results come in order.
pub async fn for_all<I, T, F>(items: I, at_once: usize, each: impl FnMut(I::Item) -> F) -> Result<Vec<T>>
where
    I: IntoIterator,
    F: std::future::Future<Output = Result<T>>,
{
    stream::iter(items.into_iter().map(each))
        .buffered(at_once)
        .try_collect()
        .await
}

/// A stack, and a connection to its database.
pub struct Scene {
    /// The stack; its methods are the scene's too.
    pub stack: Stack,
    /// As `postgres`.
    pub db: Client,
    /// In seconds.
    travelled: AtomicI64,
}

impl Scene {
    /// Starts a stack of our own.
    pub async fn start(options: StackOptions) -> Result<Self> {
        let stack = Stack::start_local(options).await?;
        let db = stack.db().await?;
        Ok(Self {
            stack,
            db,
            travelled: AtomicI64::new(0),
        })
    }

    /// [`Stack::travel`], and keeps account of it.
    pub async fn travel(&self, by: TimeDelta) -> Result<()> {
        self.travelled.fetch_add(by.num_seconds(), Ordering::Relaxed);
        self.stack.travel(by).await
    }

    /// How far the stack has travelled: what is planned is nearer by as much than it was said to be.
    pub fn travelled(&self) -> TimeDelta {
        TimeDelta::seconds(self.travelled.load(Ordering::Relaxed))
    }
}

impl Deref for Scene {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

/// Runs a test on the scene that all tests of its file share, one test at a time, and looks for leaked secrets after
/// it. The scene ends with the process.
pub fn on_shared_scene(options: StackOptions, test: impl AsyncFnOnce(&'static Scene) -> Result<()>) -> Result<()> {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
    static SCENE: OnceCell<Scene> = OnceCell::const_new();
    static TURN: Mutex<()> = Mutex::const_new(());
    RUNTIME.block_on(async {
        let _turn = TURN.lock().await;
        let scene = SCENE.get_or_try_init(|| Scene::start(options)).await?;
        scene.zoom().withdraw_all();
        scene.gateway().withdraw_all();
        scene.zoom().discard_events();
        test(scene).await?;
        scene.check()
    })
}

/// New hosts, each with a Zoom account of their own, who have not connected yet: many at little cost, since nobody
/// signs in.
pub async fn new_hosts(scene: &Scene, count: usize) -> Result<Vec<Host>> {
    let made = scene
        .db
        .query(
            "insert into auth.users (instance_id, id, aud, role, email, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
             select '00000000-0000-0000-0000-000000000000', id, 'authenticated', 'authenticated', id || '@example.test',
               '{\"role\": \"trainer\"}', '{}', now(), now()
             from (select gen_random_uuid() as id from generate_series(1, $1::int)) as ids
             returning id",
            &[&i32::try_from(count)?],
        )
        .await?;
    let host = |row: &tokio_postgres::Row| {
        let id: Uuid = row.get(0);
        let zoom_email = format!("{id}@zoom.test");
        scene.zoom().create_user(NewUser::named(&zoom_email))?;
        let mut claims = scene.issuer().claims(id, &format!("{id}@example.test"));
        claims["app_metadata"]["role"] = json!("trainer");
        let signed_in = json!({
            "access_token": scene.issuer().token(&claims)?, "refresh_token": "", "user": {"id": id},
        });
        Ok(Host {
            user: User::of(scene, Some(serde_json::from_value(signed_in)?)),
            zoom_email,
        })
    };
    made.iter().map(host).collect()
}

/// New hosts, connected.
pub async fn connected_hosts(scene: &Scene, count: usize) -> Result<Vec<Host>> {
    let hosts = new_hosts(scene, count).await?;
    for_all(&hosts, 8, |host| host.connect()).await?;
    Ok(hosts)
}

/// A new host, connected.
pub async fn connected_host(scene: &Scene) -> Result<Host> {
    let host = connected_hosts(scene, 1).await?.pop();
    host.context("one was asked for")
}

/// Creates a session, with some of its fields changed, and gives its row.
pub async fn create(host: &Host, changes: Value) -> Result<Value> {
    host.user.call("create-session", &new_session(changes)).await?.ok()
}

/// Creates a session with an idempotency key, or without one.
pub async fn create_with_key(host: &Host, key: Option<&str>, body: &Value) -> Result<Reply> {
    let path = "/functions/v1/create-session";
    let mut request = host.user.request(reqwest::Method::POST, path).json(body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    Reply::read(request.send().await?).await
}

/// Changes a session as the app does.
pub async fn edit(host: &Host, session: &Value, changes: Value) -> Result<()> {
    let query = format!("video_sessions?id=eq.{}", text(session, "id"));
    let rows = host.user.write(reqwest::Method::PATCH, &query, &changes).await?;
    ensure!(
        rows.status == 200 && rows.json.as_array().is_some_and(|rows| rows.len() == 1),
        "{changes}: {}",
        rows.text
    );
    Ok(())
}

/// Deletes a session as the app does.
pub async fn delete(host: &Host, session: &Value) -> Result<()> {
    let query = format!("video_sessions?id=eq.{}", text(session, "id"));
    let rows = host.user.write(reqwest::Method::DELETE, &query, &json!({})).await?;
    ensure!(rows.status == 200, "{}", rows.text);
    Ok(())
}

/// The session as the app reads it now; null when it does not exist any more.
pub async fn read(host: &Host, session: &Value) -> Result<Value> {
    let query = format!("video_sessions?id=eq.{}", text(session, "id"));
    Ok(host.user.select(&query).await?.ok()?[0].take())
}

/// The text of a member.
pub fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// The meeting's number.
pub fn meeting_of(session: &Value) -> String {
    text(session, "provider_meeting_id").to_owned()
}

/// The instant of a member.
pub fn instant(value: &Value, name: &str) -> Option<DateTime<Utc>> {
    text(value, name).parse().ok()
}

/// One run of `zoom-sync`, whatever comes of it.
pub async fn sync(scene: &Scene) -> Result<Reply> {
    let request = reqwest::Client::new()
        .post(format!("{}/functions/v1/zoom-sync", scene.url()))
        .header("apikey", scene.secret_key());
    Reply::read(request.send().await?).await
}

/// Lets `zoom-sync` run, and time pass up to what is due next, until nothing is. Gives the number of runs.
///
/// What waits for its host to connect again, or for its meeting to be over, is not due.
pub async fn settle(scene: &Scene) -> Result<usize> {
    for runs in 1..=MOST_RUNS {
        let answer = sync(scene).await?;
        let Some(seconds) = next_due(scene).await? else {
            ensure!(answer.status == 200, "nothing is left to do, and yet: {}", answer.text);
            return Ok(runs);
        };
        // Five minutes at least, so that a run finds more than one thing. A host's day begins at midnight, here and at
        // Zoom, wherever the test has travelled.
        let seconds = if seconds > 2 * 3600 {
            24 * 3600
        } else {
            seconds.max(300)
        };
        scene.travel(TimeDelta::seconds(seconds + 1)).await?;
    }
    anyhow::bail!(
        "{MOST_RUNS} runs of zoom-sync were not enough: {:?}",
        open(scene).await?
    )
}

/// In how many seconds the next thing is due that can be done; `None` if there is nothing to do.
async fn next_due(scene: &Scene) -> Result<Option<i64>> {
    let row = scene
        .db
        .query_one(
            "with connected as (select * from public.user_integrations_zoom where status = 'connected'),
             due as (
               select greatest(
                 task.next_attempt_at, task.claimed_until, cooldown_until, case when kind = 'update' then daily_limit_until end
               ) as at
               from video_sessions_private.zoom_outbox task join connected on connected.user_id = task.user_id
                 and connected.zoom_user_id = coalesce(task.zoom_user_id, connected.zoom_user_id)
               where dead_at is null and last_code is distinct from 'meeting_running'
               union all
               select greatest(next_check_at, cooldown_until) from video_sessions_private.session_creations creation
               join connected using (user_id, zoom_user_id)
               where state in ('running', 'unknown')
               union all
               select greatest(ask_at, cooldown_until) from video_sessions_private.watched_sessions watched
               join public.video_sessions session on session.id = watched.session_id
               join video_sessions_private.zoom_meetings meeting using (session_id)
               join connected on connected.user_id = session.host_id
                 and connected.zoom_user_id = coalesce(meeting.zoom_user_id, connected.zoom_user_id)
               where urgent_at is not null and ask_at is not null
               union all
               select claimed_until from video_sessions_private.zoom_revocations
               union all
               select now() from public.user_integrations_zoom where account_deleted_at is not null
             )
             select ceil(extract(epoch from min(at) - now()))::bigint from due",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

/// What is not finished: ledger rows, outbox rows, revocations, leases.
pub async fn open(scene: &Scene) -> Result<Vec<String>> {
    let rows = scene
        .db
        .query(
            "select 'creation ' || to_jsonb(c)::text from video_sessions_private.session_creations c where state in ('running', 'unknown')
             union all select 'outbox ' || to_jsonb(o)::text from video_sessions_private.zoom_outbox o
             union all select 'revocation of ' || user_id from video_sessions_private.zoom_revocations
             union all select 'lease of ' || user_id from public.user_integrations_zoom where lease_until > now()
             union all select 'deleted account ' || user_id from public.user_integrations_zoom where account_deleted_at is not null",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Topic, agenda, start, length and time zone.
type Details = (String, String, DateTime<Utc>, u64, String);

/// A Zoom session here.
struct Session {
    id: Uuid,
    meeting_id: String,
    status: String,
    /// What its meeting should have.
    wanted: Details,
}

impl Session {
    /// What its meeting should be like. Zoom ignores a start in the past.
    fn as_zoom_takes_it(&self, meeting: &ZoomMeeting) -> Details {
        let mut wanted = self.wanted.clone();
        if wanted.2 <= Utc::now() {
            wanted.2 = meeting.start_time;
        }
        wanted
    }
}

async fn sessions(scene: &Scene) -> Result<Vec<(Uuid, Session)>> {
    let rows = scene
        .db
        .query(
            "select host_id, id, provider_meeting_id, status, title, description, scheduled_start, duration_minutes, timezone
             from public.video_sessions where provider = 'zoom'",
            &[],
        )
        .await?;
    let session = |row: &tokio_postgres::Row| {
        let (id, description): (Uuid, String) = (row.get(1), row.get(5));
        let session = Session {
            id,
            meeting_id: row.get(2),
            status: row.get(3),
            wanted: (
                row.get(4),
                format!("{id}\n{description}").trim_end().to_owned(),
                row.get::<_, DateTime<Utc>>(6).trunc_subsecs(0),
                u64::try_from(row.get::<_, i32>(7)).unwrap_or_default(),
                row.get(8),
            ),
        };
        (row.get(0), session)
    };
    Ok(rows.iter().map(session).collect())
}

fn found(meeting: &ZoomMeeting) -> Details {
    let meeting = meeting.clone();
    (
        meeting.topic,
        meeting.agenda,
        meeting.start_time,
        meeting.duration,
        meeting.timezone,
    )
}

/// Sessions and meetings of one host.
#[derive(Clone, Debug, Default)]
pub struct Both {
    /// The sessions that are to come or go on.
    pub live_sessions: usize,
    /// The meetings at Zoom, but those of sessions that are over, which are history there too.
    pub live_meetings: usize,
    /// In what they disagree; empty where they are bound to each other, one to one, with the same details.
    pub drift: Vec<String>,
}

/// Compares what is here with what is at Zoom, for each of the hosts.
pub async fn compare(scene: &Scene, hosts: &[Host]) -> Result<Vec<Both>> {
    let mut meetings: BTreeMap<String, Vec<ZoomMeeting>> = BTreeMap::new();
    for meeting in scene.zoom().live_meetings() {
        meetings.entry(meeting.host.clone()).or_default().push(meeting);
    }
    let mut by_host: BTreeMap<Uuid, Vec<Session>> = BTreeMap::new();
    for (host, session) in sessions(scene).await? {
        by_host.entry(host).or_default().push(session);
    }
    let both = |host: &Host| {
        let meetings = meetings.remove(&host.zoom_email).unwrap_or_default();
        pair(by_host.remove(&host.id()).unwrap_or_default(), &meetings)
    };
    Ok(hosts.iter().map(both).collect())
}

fn pair(sessions: Vec<Session>, meetings: &[ZoomMeeting]) -> Both {
    let mut both = Both::default();
    let mut bound = BTreeSet::new();
    for session in &sessions {
        let meeting = meetings.iter().find(|meeting| meeting.id == session.meeting_id);
        bound.insert(&session.meeting_id);
        match (session.status.as_str(), meeting) {
            ("scheduled", None) => both.drift.push(format!("session {} has no meeting", session.id)),
            ("scheduled", Some(meeting)) if found(meeting) != session.as_zoom_takes_it(meeting) => {
                both.drift
                    .push(format!("session {:?}, meeting {:?}", session.wanted, found(meeting)));
            }
            ("cancelled", Some(meeting)) => both.drift.push(format!("meeting {} was cancelled here", meeting.id)),
            _ => {}
        }
        both.live_sessions += usize::from(session.status == "scheduled");
        both.live_meetings += usize::from(session.status != "ended" && meeting.is_some());
    }
    for meeting in meetings.iter().filter(|meeting| !bound.contains(&meeting.id)) {
        both.live_meetings += 1;
        both.drift
            .push(format!("meeting {} {:?} has no session", meeting.id, meeting.topic));
    }
    both
}

/// Sees to it that sessions and meetings of these hosts agree, and that nothing is open.
pub async fn assert_in_step(scene: &Scene, hosts: &[Host]) -> Result<Vec<Both>> {
    let both = compare(scene, hosts).await?;
    let drift: Vec<_> = both.iter().flat_map(|both| &both.drift).collect();
    assert!(drift.is_empty(), "{drift:#?}");
    let open = open(scene).await?;
    assert!(open.is_empty(), "{open:#?}");
    Ok(both)
}
