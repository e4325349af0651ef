//! Who may do what: every table, column and function of the database, tried over HTTP with real tokens by everybody.

use std::collections::BTreeMap;

use crate::support::db::{connect, create_session, everything, external_session, id_of, on_shared_stack, with, Caller};
use crate::support::{in_hours, Reply};
use anyhow::{ensure, Context, Result};
use futures_util::TryStreamExt;
use local_stack::Stack;
use reqwest::Method;
use serde_json::{json, Value};
use uuid::Uuid;

/// Who tries. Expectations below are in this order: the host of a session with a participant; another host; that
/// participant; somebody who joined and left; somebody who was invited and removed again; a user who has nothing to do
/// with it; a caller without a user; the secret key.
const CALLERS: [&str; 8] = [
    "host",
    "other host",
    "participant",
    "left",
    "removed",
    "stranger",
    "anon",
    "service",
];

/// The columns of `public`, with what a signed-in user may do with them: `r`ead, give in a new row (`c`), `u`pdate. A
/// column that is missing here fails a test: whoever adds it decides.
const COLUMNS: &[(&str, &str)] = &[
    (
        "user_integrations_zoom",
        "user_id:r zoom_user_id: zoom_account_id: zoom_account_email:r scope: access_token: refresh_token:
         access_token_expires_at: expires_at:r status:r expired_reason: token_version: refreshed_at: used_at:
         lease_holder: lease_until: cooldown_until: daily_limit_until: account_deleted_at: connected_at:r updated_at:r",
    ),
    (
        "video_session_events",
        "id:r session_id:r user_id:r kind:r details:r created_at:r",
    ),
    (
        "video_session_host_meta",
        "session_id:r host_id:r host_start_url:r expires_at:r created_at:r updated_at:r",
    ),
    ("video_session_invites", "session_id:r host_id:r share_code:r"),
    (
        "video_session_participants",
        "session_id:rc user_id:rc role:rc host_id:r created_at:r",
    ),
    (
        "video_sessions",
        "id:r host_id:rc provider:rc title:rcu description:rcu scheduled_start:rcu timezone:rcu duration_minutes:rcu
         max_participants:rcu status:ru started_at:r ended_at:r join_url:rcu provider_meeting_id:r passcode:r settings:r
         created_at:r updated_at:ru",
    ),
];

/// The columns of `video_sessions_private`, which nobody reaches.
const PRIVATE_COLUMNS: &[(&str, &str)] = &[
    (
        "pending_connections",
        "handle_hash user_id zoom_user_id zoom_account_id zoom_account_email scope access_token refresh_token
         access_token_expires_at expires_at created_at",
    ),
    ("revocation_echoes", "id zoom_user_hash expected_at"),
    (
        "session_creations",
        "id user_id zoom_user_id idempotency_key request_hash request state code checks next_check_at put_off created_at
         closed_at",
    ),
    ("removed_participants", "session_id user_id"),
    ("quotas", "name most sentence"),
    ("quota_uses", "user_id quota used window_started_at"),
    ("share_code_misses", "user_id misses window_started_at"),
    ("clock", "only_row ran_at"),
    ("installation", "number line"),
    ("time_zones", "name zoom_name"),
    ("zoom_accounts", "user_id zoom_user_id email"),
    ("watched_sessions", "session_id ask_at urgent_at asked_at failures"),
    ("watched_hosts", "user_id list_at"),
    (
        "webhook_events",
        "event_id event event_ts meeting_id details received_at",
    ),
    (
        "zoom_revocations",
        "id user_id zoom_user_id access_token refresh_token access_token_expires_at claimed_until created_at",
    ),
    (
        "zoom_meetings",
        "session_id zoom_user_id title description scheduled_start timezone duration_minutes title_at scheduled_start_at
         timezone_at duration_minutes_at deleted_at recovered_at zoom_account_id uuid uuid_at heard_at",
    ),
    ("meeting_instances", "session_id uuid started_at ended_at seen_at asked_end"),
    ("session_life", "session_id closed_as closed_at next_at"),
    (
        "zoom_oauth_states",
        "state_hash user_id sealed_verifier expires_at consumed_at handle_hash result confirmed_at created_at",
    ),
    (
        "zoom_outbox",
        "id meeting_id session_id user_id zoom_user_id kind revision attempts last_code next_attempt_at claimed_by
         claimed_account claimed_until claimed_at claimed_revision claimed_desired dead_at created_at",
    ),
];

/// The functions of `public`: who may call them (the edge functions by the secret key, signed-in users, both, nobody),
/// and arguments that they understand and that lead nowhere.
const FUNCTIONS: &str = r#"
    both    can_host_video_sessions {"user_id": "{id}"}
    service edge_creations_claim {"max_rows": 0, "only_user": null}
    service edge_revocations_claim {"max_rows": 0}
    service edge_join {"user_id": "{id}", "share_code": "0", "preview": true, "allow_anonymous": true}
    users   renew_share_code {"session_id": "{id}"}
    nobody  video_session_display_name {"user_id": "{id}"}
    service edge_outbox_claim {"holder": "{id}", "max_rows": 0, "only_user": null, "scope": "due"}
    service edge_outbox_dead_letters {}
    service edge_outbox_retry {"task_id": 0}
    service edge_outbox_settle {"holder": "{id}", "results": []}
    service edge_session_begin {"user_id": "{id}", "holder": "{id}", "idempotency_key": null, "request_hash": "x", "session": {"timezone": "UTC", "provider": "zoom", "participant_ids": []}}
    service edge_session_complete {"creation_id": "{id}", "user_id": "{id}", "meeting": {}}
    service edge_session_fail {"creation_id": "{id}", "user_id": "{id}", "result": "failed", "code": "internal"}
    service edge_start_begin {"user_id": "{id}", "holder": "{id}", "session_id": "{id}"}
    service edge_start_complete {"user_id": "{id}", "session_id": "{id}", "meeting_id": "x", "meeting": {}}
    service edge_start_gone {"user_id": "{id}", "session_id": "{id}", "meeting_id": "x"}
    service edge_sessions_settle {"max_rows": 0}
    users   my_video_sessions {"phase": "upcoming", "page_size": 1, "after_start": null, "after_id": null}
    both    phase {"session": {}}
    service edge_purge {}
    service edge_health {}
    service edge_sync_due {}
    users   video_session_contacts {}
    users   confirm_zoom_connection {"handle": "x"}
    service edge_webhook_receive {"event_id": "{id}", "event": "meeting.started", "event_ts": 1, "details": {"meeting_id": "0"}}
    service edge_watch_claim {"max_questions": 0, "max_lists": 0}
    service edge_watch_save {"session_id": "{id}", "zoom_user_id": "x", "asked_at": "2026-01-01T00:00:00Z", "answer": {"outcome": "gone"}}
    service edge_watch_save_list {"user_id": "{id}", "zoom_user_id": "x", "asked_at": "2026-01-01T00:00:00Z", "meetings": [], "is_whole": true}
    service edge_watch_all {}
    users   zoom_account {"session": {}}
    users   zoom_connection {}
    users   video_sessions_waiting {}
    service edge_connection_expire {"user_id": "{id}", "token_version": 1, "reason": "idle"}
    service edge_disconnect_begin {"user_id": "{id}", "mode": "always"}
    service edge_disconnect_complete {"revocation_id": "{id}"}
    service edge_oauth_begin {"user_id": "{id}", "state_hash": "x", "sealed_verifier": "x"}
    service edge_oauth_complete {"state_hash": "x", "user_id": "{id}", "zoom_user_id": "x", "zoom_account_id": "x", "zoom_account_email": "x", "scope": "x", "access_token": "x", "refresh_token": "x", "access_expires_in": 1, "lacking_scope": false}
    service edge_oauth_consume {"state_hash": "x", "handle_hash": "x", "denied": null}
    service edge_oauth_fail {"state_hash": "x", "result": "server_error"}
    service edge_token_claim {"user_id": "{id}", "holder": "{id}", "min_seconds": 60, "refused_version": null}
    service edge_refresh_commit {"user_id": "{id}", "token_version": 1, "access_token": "x", "refresh_token": "x", "access_expires_in": 1, "scope": "x"}
    service edge_refresh_due {"max_rows": 1}
    service edge_refresh_fail {"user_id": "{id}", "holder": "{id}", "token_version": 1, "expired_reason": "idle", "cooldown_seconds": 1}
    service edge_reseal {"user_id": "{id}", "token_version": 1, "old_refresh_token": "x", "access_token": "x", "refresh_token": "x"}
    service edge_reseal_claim {"key_id": "test", "max_rows": 1}
"#;

/// [`FUNCTIONS`]: name, whether the edge functions and whether users may call it, arguments.
fn functions() -> Result<Vec<(&'static str, [bool; 2], Value)>> {
    let id = Uuid::new_v4().to_string();
    let read = |line: &'static str| {
        let mut words = line.trim_start().splitn(2, ' ');
        let callers = words.next().context("callers")?;
        let (name, arguments) = words
            .next()
            .context("a name")?
            .trim_start()
            .split_once(' ')
            .context("arguments")?;
        let arguments = serde_json::from_str(&arguments.replace("{id}", &id)).with_context(|| name.to_owned())?;
        let (service, users) = (
            ["service", "both"].contains(&callers),
            ["users", "both"].contains(&callers),
        );
        Ok((name, [service, users], arguments))
    };
    FUNCTIONS.lines().filter(|line| !line.is_empty()).map(read).collect()
}

/// The functions of `video_sessions_private` that somebody other than their owner may execute: the policies and
/// defaults of tables do.
const PRIVATE_FUNCTIONS_FOR: &[(&str, &str)] = &[
    ("is_title", "authenticated service_role"),
    ("may_host", "authenticated"),
    ("new_share_code", "service_role"),
    ("participating_session_ids", "authenticated"),
];

/// Two sessions of the host, everybody who tries something with them, and the database behind.
struct World {
    db: tokio_postgres::Client,
    service: Caller,
    callers: Vec<Caller>,
    /// Takes part as well.
    second: Caller,
    /// Of the host, with host, participant and second participant.
    zoom: Uuid,
    /// Of the host, with the same people.
    external: Uuid,
    /// Of the other host.
    elsewhere: Uuid,
    start_url: String,
    /// What no answer to anybody but the service may hold.
    tokens: Vec<String>,
}

impl World {
    async fn new(stack: &Stack) -> Result<Self> {
        let mut callers = Vec::new();
        for name in CALLERS {
            callers.push(match name {
                "host" | "other host" => Caller::host(stack).await?,
                "anon" => Caller::anon(stack),
                "service" => Caller::service(stack),
                _ => Caller::client(stack).await?,
            });
        }
        let mut world = Self {
            db: stack.db().await?,
            service: Caller::service(stack),
            callers,
            second: Caller::client(stack).await?,
            zoom: Uuid::nil(),
            external: Uuid::nil(),
            elsewhere: Uuid::nil(),
            start_url: String::new(),
            tokens: Vec::new(),
        };
        world.set_up().await?;
        Ok(world)
    }

    fn caller(&self, name: &str) -> &Caller {
        let index = CALLERS.iter().position(|caller| *caller == name);
        &self.callers[index.expect("a caller")]
    }

    fn host(&self) -> Uuid {
        self.caller("host").id
    }

    /// Connections and sessions, made as the app and the functions make them.
    async fn set_up(&mut self) -> Result<()> {
        for host in ["host", "other host"] {
            let connection = connect(&self.service, self.caller(host).id).await?;
            self.tokens.extend([connection.access_token, connection.refresh_token]);
        }
        let session = create_session(&self.service, self.host(), &json!({"max_participants": 4})).await?;
        self.zoom = id_of(&session)?;
        let code = session["share_code"].clone();
        let external = external_session(&json!({"max_participants": 4}));
        let external = self.caller("host").post("video_sessions", &external).await?;
        self.external = id_of(&external.json[0])?;
        let elsewhere = create_session(&self.service, self.caller("other host").id, &json!({})).await?;
        self.elsewhere = id_of(&elsewhere)?;
        for session in [self.zoom, self.external] {
            for guest in [self.caller("participant"), &self.second, self.caller("removed")] {
                let guest = json!({"session_id": session, "user_id": guest.id});
                let invited = self.caller("host").post("video_session_participants", &guest).await?;
                ensure!(invited.status == 201, "invited: {}", invited.text);
            }
            let path = format!("video_session_participants?session_id=eq.{session}&user_id=eq.");
            let removed = self.caller("removed").id;
            let removed = self.caller("host").delete(&format!("{path}{removed}")).await?;
            ensure!(rows(&removed) == 1, "removed: {}", removed.text);
        }
        let left = self.caller("left");
        let join = json!({"user_id": left.id, "share_code": code, "preview": false, "allow_anonymous": false});
        ensure!(self.service.outcome("edge_join", join).await? == "joined");
        let gone = left
            .delete(&format!("video_session_participants?session_id=eq.{}", self.zoom))
            .await?;
        ensure!(rows(&gone) == 1, "left: {}", gone.text);
        let url = "select host_start_url from public.video_session_host_meta where session_id = $1";
        self.start_url = self.db.query_one(url, &[&self.zoom]).await?.get(0);
        self.db
            .batch_execute(
                "create temp table saved_sessions as table public.video_sessions;
                 create temp table saved_invites as table public.video_session_invites;
                 create temp table saved_meta as table public.video_session_host_meta;
                 create temp table saved_events as table public.video_session_events;
                 create temp table saved_participants as table public.video_session_participants;
                 create temp table saved_meetings as table video_sessions_private.zoom_meetings;
                 create temp table saved_connections as table public.user_integrations_zoom;",
            )
            .await?;
        Ok(())
    }

    /// Puts everything back as [`World::set_up`] left it.
    async fn restore(&self) -> Result<()> {
        self.db
            .batch_execute(
                "delete from public.video_sessions;
                 delete from public.user_integrations_zoom;
                 delete from video_sessions_private.zoom_outbox;
                 insert into public.video_sessions table saved_sessions;
                 insert into public.video_session_participants table saved_participants on conflict do nothing;
                 truncate public.video_session_invites;
                 insert into public.video_session_invites table saved_invites;
                 insert into public.video_session_host_meta table saved_meta;
                 insert into video_sessions_private.zoom_meetings table saved_meetings;
                 insert into public.user_integrations_zoom table saved_connections;
                 delete from public.video_session_events;
                 insert into public.video_session_events table saved_events;",
            )
            .await?;
        Ok(())
    }

    /// A request of [`ATTEMPTS`] as this caller sends it.
    fn request(&self, caller: &Caller, request: &str) -> Result<(Method, String, Option<Value>)> {
        let fill = |text: &str| {
            let own = if caller.id.is_nil() { self.host() } else { caller.id };
            let names = [
                ("{zoom}", self.zoom),
                ("{external}", self.external),
                ("{elsewhere}", self.elsewhere),
                ("{host}", self.host()),
                ("{participant}", self.caller("participant").id),
                ("{second}", self.second.id),
                ("{stranger}", self.caller("stranger").id),
                ("{self}", own),
                ("{new}", Uuid::new_v4()),
            ];
            let filled = names
                .iter()
                .fold(text.to_owned(), |text, (name, id)| text.replace(name, &id.to_string()));
            filled.replace("{soon}", &in_hours(1).to_rfc3339())
        };
        let (method, rest) = request.split_once(' ').context("a method and a path")?;
        let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
        let body = fill(body);
        let body = match body.strip_prefix("session ") {
            Some(changes) => Some(external_session(&serde_json::from_str(changes)?)),
            None if body.is_empty() => None,
            None => Some(serde_json::from_str(&body)?),
        };
        Ok((method.parse()?, fill(path), body))
    }

    /// No answer holds a secret that its reader is not entitled to.
    fn check_secrets(&self, caller: &str, reply: &Reply) -> Result<()> {
        let whole = format!("{} {:?}", reply.text, reply.headers);
        ensure!(
            caller == "service" || !self.tokens.iter().any(|token| whole.contains(token)),
            "{caller} reads a token: {whole}"
        );
        ensure!(
            ["service", "host"].contains(&caller) || !whole.contains(&self.start_url),
            "{caller} reads the start URL: {whole}"
        );
        Ok(())
    }
}

/// How many rows an answer holds.
fn rows(reply: &Reply) -> usize {
    reply.json.as_array().map_or(0, Vec::len)
}

/// A value for a column that nothing but a missing right speaks against.
fn sample(column: &str) -> Value {
    match column {
        "id" | "session_id" | "host_id" | "user_id" | "lease_holder" => json!(Uuid::new_v4()),
        "provider" => json!("external"),
        "scheduled_start" => json!(in_hours(48)),
        "timezone" => json!("Europe/Berlin"),
        "duration_minutes" => json!(45),
        "max_participants" => json!(5),
        "status" => json!("cancelled"),
        "join_url" => json!("https://elsewhere.test/"),
        "host_start_url" => json!("https://zoom.us/s/1?zak=forged"),
        "access_token" | "refresh_token" => json!("v1.test.forged"),
        "role" => json!("participant"),
        "kind" => json!("changed"),
        "details" | "settings" => json!({}),
        "token_version" => json!(7),
        "title" | "description" | "passcode" | "provider_meeting_id" | "share_code" | "scope" | "expired_reason" => {
            json!(format!("forged {}", Uuid::new_v4()))
        }
        "zoom_user_id" | "zoom_account_id" | "zoom_account_email" => json!("forged"),
        time if time.ends_with("_at") || time.ends_with("_until") => json!(in_hours(1)),
        other => panic!("{other}: give it a value"),
    }
}

/// Was it refused for want of a right, and not for another reason?
fn check_refused(caller: &str, what: &str, reply: &Reply) -> Result<()> {
    let expected = if caller == "anon" { 401 } else { 403 };
    ensure!(
        reply.code() == (expected, "42501"),
        "{caller}: {what}: expected a refusal, got {} {}",
        reply.status,
        reply.text
    );
    Ok(())
}

fn columns() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    COLUMNS.iter().flat_map(|(table, columns)| {
        columns.split_whitespace().map(|column| {
            let (column, rights) = column.split_once(':').expect("column:rights");
            (*table, column, rights)
        })
    })
}

#[test]
fn the_matrix_is_complete_and_the_grants_agree_with_it() -> Result<()> {
    on_shared_stack(async |stack| {
        let db = stack.db().await?;
        let catalog = db
            .query(
                "select schema.nspname::text, c.relname::text, a.attname::text,
                   array(
                     select r.name || right_.letter
                     from (values ('anon'), ('authenticated'), ('service_role')) r (name),
                       (values ('SELECT', ':r'), ('INSERT', ':c'), ('UPDATE', ':u'), ('REFERENCES', ':f')) right_ (name, letter)
                     where has_column_privilege(r.name, c.oid, a.attnum, right_.name)
                     order by 1
                   )
                 from pg_catalog.pg_class c
                 join pg_catalog.pg_namespace schema on schema.oid = c.relnamespace
                 join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                 where schema.nspname in ('public', 'video_sessions_private') and c.relkind in ('r', 'p', 'v', 'm', 'f')",
                &[],
            )
            .await?;
        let mut found = BTreeMap::new();
        for row in catalog {
            let name = format!(
                "{}.{}.{}",
                row.get::<_, &str>(0),
                row.get::<_, &str>(1),
                row.get::<_, &str>(2)
            );
            found.insert(name, row.get::<_, Vec<String>>(3));
        }
        let mut expected = BTreeMap::new();
        for (table, column, rights) in columns() {
            let mut grants: Vec<_> = rights.chars().map(|right| format!("authenticated:{right}")).collect();
            grants.extend(["service_role:r", "service_role:c", "service_role:u"].map(str::to_owned));
            grants.sort();
            expected.insert(format!("public.{table}.{column}"), grants);
        }
        for (table, columns) in PRIVATE_COLUMNS {
            for column in columns.split_whitespace() {
                expected.insert(format!("video_sessions_private.{table}.{column}"), Vec::new());
            }
        }
        assert_eq!(found, expected);

        let open = db
            .query(
                "select c.oid::regclass::text, c.relrowsecurity,
                   array(
                     select r.name || ' ' || right_.name
                     from (values ('anon'), ('authenticated'), ('service_role')) r (name),
                       (values ('DELETE'), ('TRUNCATE'), ('TRIGGER')) right_ (name)
                     where has_table_privilege(r.name, c.oid, right_.name)
                     order by 1
                   )
                 from pg_catalog.pg_class c
                 where c.relnamespace in ('public'::regnamespace, 'video_sessions_private'::regnamespace) and c.relkind in ('r', 'p')",
                &[],
            )
            .await?;
        for row in open {
            let (table, secured, rights): (&str, bool, Vec<&str>) = (row.get(0), row.get(1), row.get(2));
            assert!(secured, "row-level security of {table}");
            let expected: &[&str] = match table {
                "video_sessions" | "video_session_participants" => &["authenticated DELETE", "service_role DELETE"],
                _ if table.starts_with("video_sessions_private.") => &[],
                _ => &["service_role DELETE"],
            };
            assert_eq!(rights, expected, "{table}");
        }
        let schema = db
            .query_one(
                "select array(
                   select r.name || ' ' || right_.name
                   from (values ('anon'), ('authenticated'), ('service_role')) r (name), (values ('USAGE'), ('CREATE')) right_ (name)
                   where has_schema_privilege(r.name, 'video_sessions_private', right_.name)
                     or has_schema_privilege(r.name, 'public', 'CREATE')
                 )",
                &[],
            )
            .await?;
        assert_eq!(schema.get::<_, Vec<&str>>(0), Vec::<&str>::new());

        let catalog = db
            .query(
                "select p.pronamespace::regnamespace::text, p.proname::text,
                   coalesce(p.proargnames[1:p.pronargs], '{}')::text[],
                   concat_ws(
                     ' ',
                     case when has_function_privilege('anon', p.oid, 'EXECUTE') then 'anon' end,
                     case when has_function_privilege('authenticated', p.oid, 'EXECUTE') then 'authenticated' end,
                     case when has_function_privilege('service_role', p.oid, 'EXECUTE') then 'service_role' end
                   ),
                   p.prosecdef, coalesce(p.proconfig, '{}')::text[]
                 from pg_catalog.pg_proc p
                 where p.pronamespace in ('public'::regnamespace, 'video_sessions_private'::regnamespace)
                 order by 1, 2",
                &[],
            )
            .await?;
        let mut found = BTreeMap::new();
        for row in &catalog {
            let (schema, name, callers): (&str, &str, &str) = (row.get(0), row.get(1), row.get(3));
            let mut arguments: Vec<String> = row.get(2);
            arguments.sort();
            let settings: Vec<String> = row.get(5);
            assert!(
                // What is computed of a row needs nothing but the row.
                schema != "public" || row.get(4) || name == "phase",
                "{name}: functions for callers are security definers"
            );
            assert_eq!(settings, ["search_path=\"\""], "{schema}.{name}");
            if schema == "public" {
                let earlier = found.insert(name.to_owned(), (arguments, callers.to_owned()));
                assert!(earlier.is_none(), "{name} is overloaded");
            } else {
                let expected = PRIVATE_FUNCTIONS_FOR.iter().find(|(function, _)| *function == name);
                assert_eq!(callers, expected.map_or("", |(_, callers)| callers), "{name}");
            }
        }
        let expected = functions()?.into_iter().map(|(name, callers, arguments)| {
            let mut arguments: Vec<_> = arguments
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .collect();
            arguments.sort();
            let callers = match callers {
                [true, true] => "authenticated service_role",
                [true, false] => "service_role",
                [false, true] => "authenticated",
                [false, false] => "",
            };
            (name.to_owned(), (arguments, callers.to_owned()))
        });
        assert_eq!(found, expected.collect());
        Ok(())
    })
}

/// Rows of the tables, and who reaches them. For each of [`CALLERS`]: how many rows the answer holds, or why there is
/// none: `x` for a refusal, `c` a conflict with another row, `n` a column that may not be null, `v` a value that breaks
/// a rule. Then method, path, and body, where `session` stands for a new session with an own link.
const ATTEMPTS: &str = r#"
    1 0 1 0 0 0 x 1  GET video_sessions?id=eq.{zoom}
    1 0 1 0 0 0 x 1  GET video_sessions?id=eq.{external}
    2 1 2 0 0 0 x 3  GET video_sessions?id=in.({zoom},{external},{elsewhere})
    1 0 0 0 0 0 x 1  GET video_session_invites?session_id=eq.{zoom}
    2 1 0 0 0 0 x 3  GET video_session_invites?session_id=in.({zoom},{external},{elsewhere})
    x x x x x x x 1  PATCH video_session_invites?session_id=eq.{zoom} {"share_code": "000000000000"}
    x x x x x x x 1  DELETE video_session_invites?session_id=eq.{zoom}
    1 1 x x x x x 1  POST video_sessions session {"host_id": "{self}"}
    1 1 x x x x x n  POST video_sessions session {}
    1 x x x x x x 1  POST video_sessions session {"host_id": "{host}"}
    x x x x x x x v  POST video_sessions session {"host_id": "{self}", "provider": "zoom"}
    x x x x x x x 1  POST video_sessions session {"host_id": "{self}", "provider": "zoom", "provider_meeting_id": "{new}"}
    1 0 0 0 0 0 x 1  PATCH video_sessions?id=eq.{zoom} {"title": "Renamed"}
    1 1 0 0 0 0 x 2  PATCH video_sessions?id=in.({zoom},{elsewhere}) {"title": "Renamed"}
    1 0 0 0 0 0 x 1  PATCH video_sessions?id=eq.{zoom} {"status": "cancelled"}
    1 0 0 0 0 0 x 1  DELETE video_sessions?id=eq.{zoom}
    1 0 0 0 0 0 x 1  DELETE video_sessions?id=eq.{external}

    7 0 1 2 2 0 x 13 GET video_session_events?session_id=eq.{zoom}
    x x x x x x x 1  POST video_session_events {"session_id": "{zoom}", "user_id": "{participant}", "kind": "cancelled"}
    x x x x x x x 13 PATCH video_session_events?session_id=eq.{zoom} {"kind": "cancelled"}
    x x x x x x x 13 DELETE video_session_events?session_id=eq.{zoom}
    1 0 0 0 0 0 x 1  GET video_session_host_meta?session_id=eq.{zoom}
    x x x x x x x 1  POST video_session_host_meta {"session_id": "{external}", "host_id": "{host}", "host_start_url": "https://zoom.us/s/1", "expires_at": "{soon}"}
    x x x x x x x 1  PATCH video_session_host_meta?session_id=eq.{zoom} {"host_start_url": "https://zoom.us/s/1"}
    x x x x x x x 1  DELETE video_session_host_meta?session_id=eq.{zoom}

    3 0 1 0 0 0 x 3  GET video_session_participants?session_id=eq.{zoom}
    1 x x x x x x 1  POST video_session_participants {"session_id": "{zoom}", "user_id": "{stranger}"}
    c x x x x x x c  POST video_session_participants {"session_id": "{zoom}", "user_id": "{self}"}
    x x x x x x x c  POST video_session_participants {"session_id": "{zoom}", "user_id": "{self}", "role": "host"}
    x x x x x x x c  POST video_session_participants {"session_id": "{zoom}", "user_id": "{stranger}", "role": "host"}
    x x x x x x x 2  POST video_session_participants [{"session_id": "{zoom}", "user_id": "{stranger}"}, {"session_id": "{elsewhere}", "user_id": "{stranger}"}]
    x x x x x x x c  PATCH video_session_participants?session_id=eq.{zoom}&user_id=eq.{participant} {"role": "host"}
    x x x x x x x 1  PATCH video_session_participants?session_id=eq.{zoom}&user_id=eq.{participant} {"user_id": "{stranger}"}
    1 0 1 0 0 0 x 1  DELETE video_session_participants?session_id=eq.{zoom}&user_id=eq.{participant}
    1 0 0 0 0 0 x 1  DELETE video_session_participants?session_id=eq.{zoom}&user_id=eq.{second}
    0 0 0 0 0 0 x 1  DELETE video_session_participants?session_id=eq.{zoom}&user_id=eq.{host}
    2 0 1 0 0 0 x 4  DELETE video_session_participants?session_id=in.({zoom},{elsewhere})

    1 0 0 0 0 0 x 1  GET user_integrations_zoom?select=zoom_account_email&user_id=eq.{host}
    x x x x x x x 1  GET user_integrations_zoom?select=*&user_id=eq.{host}
    x x x x x x x 1  POST user_integrations_zoom?select=user_id {"user_id": "{new}", "zoom_user_id": "x", "zoom_account_id": "x", "zoom_account_email": "x", "scope": "x", "access_token": "v1.x", "refresh_token": "v1.x", "access_token_expires_at": "{soon}", "expires_at": "{soon}"}
    x x x x x x x n  POST user_integrations_zoom?select=user_id {"user_id": "{self}", "zoom_account_email": "x"}
    x x x x x x x 1  PATCH user_integrations_zoom?select=user_id&user_id=eq.{host} {"zoom_account_email": "x"}
    x x x x x x x 1  DELETE user_integrations_zoom?select=user_id&user_id=eq.{host}
"#;

#[test]
fn everybody_reaches_the_rows_that_are_theirs() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        let mut before = everything(&world.db).await?;
        for attempt in ATTEMPTS.lines().filter(|line| !line.is_empty()) {
            let expected: Vec<_> = attempt.split_whitespace().take(CALLERS.len()).collect();
            let what = attempt.trim_start_matches(|c: char| !c.is_uppercase());
            for (index, name) in CALLERS.into_iter().enumerate() {
                let caller = &world.callers[index];
                let (method, path, body) = world.request(caller, what)?;
                let reads = method == Method::GET;
                let prefer: &[_] = if reads {
                    &[]
                } else {
                    &[("prefer", "return=representation")]
                };
                let reply = caller.send(method, &path, prefer, body.as_ref()).await?;
                world.check_secrets(name, &reply)?;
                let changed = everything(&world.db).await? != before;
                let reached = match expected[index] {
                    "x" => {
                        check_refused(name, what, &reply)?;
                        0
                    }
                    reason @ ("c" | "n" | "v") => {
                        let code = BTreeMap::from([("c", "23505"), ("n", "23502"), ("v", "23514")])[reason];
                        assert_eq!(reply.json["code"], code, "{name}: {what}: {}", reply.text);
                        0
                    }
                    number => {
                        let number: usize = number.parse()?;
                        ensure!(
                            (200..300).contains(&reply.status) && rows(&reply) == number,
                            "{name}: {what}: expected {number} rows, got {} {}",
                            reply.status,
                            reply.text
                        );
                        number
                    }
                };
                assert_eq!(changed, !reads && reached > 0, "{name}: {what}: what is stored changed");
                if changed {
                    world.restore().await?;
                    before = everything(&world.db).await?;
                }
            }
        }
        Ok(())
    })
}

/// The rows that [`World`] has of a table.
fn filter(world: &World, table: &str) -> String {
    match table {
        "user_integrations_zoom" => format!("user_id=eq.{}", world.host()),
        "video_sessions" => format!("id=eq.{}", world.zoom),
        _ => format!("session_id=eq.{}", world.zoom),
    }
}

#[test]
fn closed_columns_are_closed_by_name() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        let visible = BTreeMap::from([
            ("user_integrations_zoom", [1, 0, 0, 0, 0, 0, 0, 1]),
            ("video_session_events", [7, 0, 1, 2, 2, 0, 0, 13]),
            ("video_session_host_meta", [1, 0, 0, 0, 0, 0, 0, 1]),
            ("video_session_invites", [1, 0, 0, 0, 0, 0, 0, 1]),
            ("video_session_participants", [3, 0, 1, 0, 0, 0, 0, 3]),
            ("video_sessions", [1, 0, 1, 0, 0, 0, 0, 1]),
        ]);
        let before = everything(&world.db).await?;
        let mut attempts = Vec::new();
        for (table, column, rights) in columns() {
            let rows_of_host = filter(&world, table);
            let key = if table == "video_sessions" {
                "id"
            } else if table == "user_integrations_zoom" {
                "user_id"
            } else {
                "session_id"
            };
            for (index, name) in CALLERS.into_iter().enumerate() {
                let open = name != "anon" && (name == "service" || rights.contains('r'));
                let mut read = |query: String, expected: Option<usize>| {
                    attempts.push((
                        name,
                        index,
                        Method::GET,
                        format!("{table}?{query}"),
                        Value::Null,
                        expected,
                    ));
                };
                let reached = open.then_some(visible[table][index]);
                read(format!("select={column}&{rows_of_host}"), reached);
                read(format!("select={key}&order={column}&{rows_of_host}"), reached);
                if !open && ["host", "stranger"].contains(&name) {
                    for query in [
                        format!("select={key}&{column}=not.is.null&{rows_of_host}"),
                        format!("select={key}&or=({column}.is.null,{column}.not.is.null)&{rows_of_host}"),
                        format!("select={key},x:{column}::text&{rows_of_host}"),
                        format!("select={key}&{column}=eq.{}&{rows_of_host}", query_value(column)),
                    ] {
                        read(query, None);
                    }
                }
                if name == "service" {
                    continue;
                }
                let mut write = |method: Method, path: String, body: Value| {
                    attempts.push((name, index, method, path, body, None));
                };
                if name == "anon" || !rights.contains('u') {
                    let body = json!({column: sample(column)});
                    write(Method::PATCH, format!("{table}?{rows_of_host}"), body.clone());
                    // Together with what may be changed.
                    if name == "host" && table == "video_sessions" {
                        write(
                            Method::PATCH,
                            format!("{table}?{rows_of_host}"),
                            with(json!({"title": "x"}), &body),
                        );
                    }
                }
                if name == "anon" || !rights.contains('c') {
                    let row = match table {
                        "video_sessions" => external_session(&json!({column: sample(column)})),
                        "video_session_participants" => {
                            json!({"session_id": world.zoom, "user_id": world.caller("stranger").id, column: sample(column)})
                        }
                        _ => json!({column: sample(column)}),
                    };
                    write(Method::POST, table.to_owned(), row.clone());
                    if name == "host" {
                        write(Method::POST, table.to_owned(), json!([row, row]));
                        write(Method::POST, format!("{table}?columns={column}"), row);
                    }
                }
            }
        }
        let world = &world;
        let count = attempts.len();
        futures_util::stream::iter(attempts.into_iter().map(anyhow::Ok))
            .try_for_each_concurrent(8, |(name, index, method, path, body, expected)| async move {
                let reads = method == Method::GET;
                let what = format!("{method} {path} {body}");
                let caller = &world.callers[index];
                let reply = caller.send(method, &path, &[], (!reads).then_some(&body)).await?;
                world.check_secrets(name, &reply)?;
                match expected {
                    None => check_refused(name, &what, &reply),
                    Some(number) => {
                        ensure!(reply.status == 200, "{name}: {what}: {} {}", reply.status, reply.text);
                        ensure!(
                            rows(&reply) == number,
                            "{name}: {what}: {number} rows expected: {}",
                            reply.text
                        );
                        Ok(())
                    }
                }
            })
            .await?;
        assert!(
            everything(&world.db).await? == before,
            "one of {count} refused attempts was not"
        );
        println!("{count} attempts");
        Ok(())
    })
}

fn query_value(column: &str) -> String {
    let value = sample(column);
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.replace('+', "%2B").replace(' ', "%20")
}

#[test]
fn hosts_may_change_what_is_theirs_to_change() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        let host = world.caller("host");
        // The link is that of a Zoom session here: `the_own_link_can_be_changed_and_zooms_cannot`.
        let changeable = |(_, column, rights): &(_, &str, &str)| rights.contains('u') && *column != "join_url";
        for (table, column, rights) in columns().filter(changeable) {
            assert!(table == "video_sessions" && rights.contains('r'), "{table}.{column}");
            let value = sample(column);
            let path = format!("{table}?{}&select={column}", filter(&world, table));
            let reply = host.patch(&path, &json!({column: value})).await?;
            assert_eq!((reply.status, rows(&reply)), (200, 1), "{column}: {}", reply.text);
            let stored = &reply.json[0][column];
            match column {
                // Kept by the database, whatever the app sends.
                "updated_at" => assert!(stored.as_str() < value.as_str(), "{stored}"),
                "scheduled_start" => {
                    let instant =
                        |value: &Value| serde_json::from_value::<chrono::DateTime<chrono::Utc>>(value.clone());
                    assert!(
                        (instant(stored)? - instant(&value)?).num_milliseconds() == 0,
                        "{stored}"
                    );
                }
                _ => assert_eq!(*stored, value, "{column}"),
            }
        }
        Ok(())
    })
}

/// Ways around, each with what anybody but the service gets out of it.
#[test]
fn there_is_no_way_around() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        let (zoom, host_id) = (world.zoom, world.host());
        let before = everything(&world.db).await?;
        let embedded = |select: &str| format!("video_sessions?id=eq.{zoom}&select={select}");

        // Embedding one table in another goes by the policies of both.
        for (path, key, expected) in [
            (
                embedded("id,m:video_session_host_meta(*)"),
                "/0/m/host_start_url",
                "1 - 0 - - - x 1",
            ),
            (
                embedded("id,m:video_session_host_meta(host_start_url)"),
                "/0/m/host_start_url",
                "1 - 0 - - - x 1",
            ),
            (
                embedded("id,m:video_session_host_meta!inner(session_id)"),
                "/0/id",
                "1 - - - - - x 1",
            ),
            (
                embedded("id,m:video_session_host_meta(session_id)&m=not.is.null"),
                "/0/id",
                "1 - - - - - x 1",
            ),
            (
                embedded("id,p:video_session_participants(user_id)"),
                "/0/p/1/user_id",
                "1 - 0 - - - x 1",
            ),
            (
                format!("video_session_participants?session_id=eq.{zoom}&role=eq.participant&limit=1&select=s:video_sessions(*,m:video_session_host_meta(*))"),
                "/0/s/m/host_start_url",
                "1 - 0 - - - x 1",
            ),
            (
                format!("video_session_host_meta?session_id=eq.{zoom}&select=host_start_url,s:video_sessions(title)"),
                "/0/host_start_url",
                "1 - - - - - x 1",
            ),
        ] {
            for (index, expected) in expected.split(' ').enumerate() {
                let name = CALLERS[index];
                let reply = world.callers[index].get(&path).await?;
                world.check_secrets(name, &reply)?;
                if expected == "x" {
                    check_refused(name, &path, &reply)?;
                    continue;
                }
                assert_eq!(reply.status, 200, "{name}: {path}: {}", reply.text);
                assert_eq!(rows(&reply), usize::from(expected != "-"), "{name}: {path}: {}", reply.text);
                let seen = reply.json.pointer(key).is_some_and(|value| !value.is_null());
                assert_eq!(seen, expected == "1", "{name}: {path}: {}", reply.text);
            }
        }

        // Counting goes by them too.
        let counts = [
            (
                format!("video_sessions?id=in.({zoom},{})", world.elsewhere),
                "1 1 1 0 0 0 x 2",
            ),
            (
                format!("video_session_host_meta?host_id=eq.{host_id}&session_id=eq.{zoom}"),
                "1 0 0 0 0 0 x 1",
            ),
            (
                format!("video_session_participants?session_id=eq.{zoom}"),
                "3 0 1 0 0 0 x 3",
            ),
            (
                format!("user_integrations_zoom?select=user_id&user_id=eq.{host_id}"),
                "1 0 0 0 0 0 x 1",
            ),
        ];
        for (path, expected) in &counts {
            for (index, expected) in expected.split(' ').enumerate() {
                let name = CALLERS[index];
                let reply = world.callers[index]
                    .send(Method::GET, path, &[("prefer", "count=exact")], None)
                    .await?;
                let total = reply.header("content-range").rsplit('/').next().unwrap_or_default();
                if expected == "x" {
                    check_refused(name, path, &reply)?;
                } else {
                    assert_eq!(total, expected, "{name}: {path}");
                }
            }
        }

        // A conflict turns an insert into an update, which needs the right to update; and nothing gives a row away.
        let host = world.caller("host");
        let participant = json!({"session_id": zoom, "user_id": world.caller("participant").id, "role": "participant"});
        let session = external_session(&json!({"host_id": host_id}));
        let merge = [("prefer", "resolution=merge-duplicates,return=minimal")];
        for (path, body) in [
            ("video_session_participants", participant.clone()),
            ("video_session_participants?on_conflict=session_id,user_id", participant),
            ("video_sessions", session.clone()),
            ("video_sessions", with(session.clone(), &json!({"id": zoom}))),
            (
                "video_sessions?on_conflict=id",
                with(
                    session.clone(),
                    &json!({"id": zoom, "join_url": "https://elsewhere.test/"}),
                ),
            ),
            (
                "video_session_invites?on_conflict=session_id",
                json!({"session_id": zoom, "host_id": host_id, "share_code": "000000000000"}),
            ),
            (
                "user_integrations_zoom",
                json!({"user_id": host_id, "status": "expired"}),
            ),
            (
                "user_integrations_zoom?on_conflict=user_id",
                json!({"user_id": host_id, "zoom_account_email": "x"}),
            ),
            (
                "video_session_host_meta?on_conflict=session_id",
                json!({"session_id": zoom, "host_start_url": "x"}),
            ),
        ] {
            for name in ["host", "other host", "stranger", "anon"] {
                let reply = world.caller(name).send(Method::POST, path, &merge, Some(&body)).await?;
                check_refused(name, &format!("upsert {path} {body}"), &reply)?;
            }
        }
        // PUT is an upsert of one row, which has to name every column.
        let row = host.get(&format!("video_sessions?id=eq.{zoom}")).await?.json[0].clone();
        let put = host
            .send(Method::PUT, &format!("video_sessions?id=eq.{zoom}"), &[], Some(&row))
            .await?;
        check_refused("host", "PUT", &put)?;

        // A row is not shown on its way in or out to somebody who may not read it.
        for path in ["user_integrations_zoom", "user_integrations_zoom?select=access_token"] {
            for (method, body) in [
                (Method::PATCH, json!({"status": "connected"})),
                (Method::DELETE, Value::Null),
                (Method::POST, json!({"user_id": host_id})),
            ] {
                let prefer = [("prefer", "return=representation")];
                let filtered = format!(
                    "{path}{}user_id=eq.{host_id}",
                    if path.contains('?') { "&" } else { "?" }
                );
                let reply = host
                    .send(method.clone(), &filtered, &prefer, (!body.is_null()).then_some(&body))
                    .await?;
                check_refused("host", &format!("{method} {path}"), &reply)?;
            }
        }
        // Aggregates, plans and other formats give no more than rows do.
        for (path, accept) in [
            ("user_integrations_zoom?select=access_token.max()", "application/json"),
            ("user_integrations_zoom?select=count()", "application/json"),
            ("user_integrations_zoom?select=access_token", "text/csv"),
            (
                "video_session_host_meta?select=host_start_url",
                "application/vnd.pgrst.plan+json",
            ),
            (
                "user_integrations_zoom?select=access_token",
                "application/vnd.pgrst.object+json",
            ),
        ] {
            for name in ["host", "participant", "stranger", "anon"] {
                let reply = world
                    .caller(name)
                    .send(Method::GET, path, &[("accept", accept)], None)
                    .await?;
                assert!((400..500).contains(&reply.status), "{name}: {path}: {}", reply.text);
                world.check_secrets(name, &reply)?;
            }
        }
        assert!(everything(&world.db).await? == before, "an attempt changed something");
        Ok(())
    })
}

#[test]
fn nobody_reaches_the_private_schema() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        let before = everything(&world.db).await?;
        let names = world
            .db
            .query(
                "select proname::text from pg_catalog.pg_proc where pronamespace = 'video_sessions_private'::regnamespace",
                &[],
            )
            .await?;
        let functions: Vec<String> = names.iter().map(|row| row.get(0)).collect();
        assert!(functions.len() > 10);
        for name in ["host", "participant", "anon", "service"] {
            let caller = world.caller(name);
            for (table, columns) in PRIVATE_COLUMNS {
                let column = columns.split_whitespace().next().context("a column")?;
                for (method, body) in [
                    (Method::GET, None),
                    (Method::POST, Some(json!({column: "x"}))),
                    (Method::PATCH, Some(json!({column: "x"}))),
                    (Method::DELETE, None),
                ] {
                    let send = |path: String, headers: &'static [(&'static str, &'static str)]| {
                        let (method, body) = (method.clone(), body.clone());
                        async move { caller.send(method, &path, headers, body.as_ref()).await }
                    };
                    let reply = send(format!("{table}?{column}=not.is.null"), &[]).await?;
                    assert_eq!(reply.status, 404, "{name}: {method} {table}: {}", reply.text);
                    let reply = send(format!("video_sessions_private.{table}?{column}=not.is.null"), &[]).await?;
                    assert_eq!(reply.status, 404, "{name}: {method} {table}: {}", reply.text);
                    let profile = &[
                        ("accept-profile", "video_sessions_private"),
                        ("content-profile", "video_sessions_private"),
                    ];
                    let reply = send(format!("{table}?{column}=not.is.null"), profile).await?;
                    assert_eq!(
                        reply.code(),
                        (406, "PGRST106"),
                        "{name}: {method} {table}: {}",
                        reply.text
                    );
                }
            }
            for function in &functions {
                let reply = caller.rpc(function, &json!({})).await?;
                assert_eq!(reply.code(), (404, "PGRST202"), "{name}: {function}: {}", reply.text);
                let profile = [("content-profile", "video_sessions_private")];
                let path = format!("rpc/{function}");
                let reply = caller.send(Method::POST, &path, &profile, Some(&json!({}))).await?;
                assert_eq!(reply.code(), (406, "PGRST106"), "{name}: {function}: {}", reply.text);
            }
        }
        // Nor do the policies' helpers, should somebody come by another way.
        for role in ["anon", "authenticated", "service_role"] {
            for (table, _) in PRIVATE_COLUMNS {
                let read = format!("begin; set local role {role}; select * from video_sessions_private.{table}");
                let error = world
                    .db
                    .batch_execute(&read)
                    .await
                    .err()
                    .and_then(|error| error.code().cloned());
                world.db.batch_execute("rollback").await?;
                let refused = tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE;
                assert_eq!(error, Some(refused), "{role} reads {table}");
            }
        }
        assert!(everything(&world.db).await? == before);
        Ok(())
    })
}

#[test]
fn functions_answer_those_they_are_for() -> Result<()> {
    on_shared_stack(async |stack| {
        let world = World::new(stack).await?;
        let before = everything(&world.db).await?;
        for (function, [service, users], arguments) in functions()? {
            for (index, name) in CALLERS.into_iter().enumerate() {
                let caller = &world.callers[index];
                let allowed = match name {
                    "anon" => false,
                    "service" => service,
                    _ => users,
                };
                if allowed {
                    continue;
                }
                check_refused(name, function, &caller.rpc(function, &arguments).await?)?;
                let mut path = form_urlencoded::Serializer::for_suffix(format!("rpc/{function}?"), function.len() + 5);
                for (name, value) in arguments.as_object().into_iter().flatten() {
                    path.append_pair(name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                }
                let path = path.finish();
                let reply = caller.get(&path).await?;
                // A null has no way to say so in a query: such arguments are refused before anything else.
                assert!((400..500).contains(&reply.status), "{name}: GET {path}: {}", reply.text);
            }
        }
        assert!(
            everything(&world.db).await? == before,
            "a function ran that should not have"
        );
        // The same arguments from those it is for: what was refused above was well-formed.
        for (function, [service, users], arguments) in functions()? {
            for name in [service.then_some("service"), users.then_some("host")]
                .into_iter()
                .flatten()
            {
                let reply = world.caller(name).rpc(function, &arguments).await?;
                let leads_nowhere = [
                    ("renew_share_code", "session_not_found"),
                    ("confirm_zoom_connection", "connection_not_confirmable"),
                ]
                .iter()
                .any(|(name, code)| *name == function && reply.code() == (404, *code));
                assert!(
                    reply.status == 200 || leads_nowhere,
                    "{name}: {function}: {} {}",
                    reply.status,
                    reply.text
                );
            }
        }
        Ok(())
    })
}
