//! `docs/openapi-database.yaml` says what PostgREST really serves: the tables, columns and calls that users have a
//! right to, and the answers and refusals that come of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::openapi::validate;
use crate::support::{in_hours, new_session, Reply, User};
use anyhow::{ensure, Context, Result};
use local_stack::{repository, Stack, StackOptions};
use reqwest::Method;
use serde_json::{json, Map, Value};
use tokio_postgres::Client;

struct Document(Value);

impl Document {
    fn read() -> Result<Self> {
        let text = std::fs::read_to_string(repository().join("docs/openapi-database.yaml"))?;
        Ok(Self(
            serde_norway::from_str(&text).context("docs/openapi-database.yaml")?,
        ))
    }

    /// Asserts that an answer is one that the operation describes.
    fn check(&self, method: &str, path: &str, reply: &Reply) -> Result<()> {
        let responses = &self.0["paths"][path][method]["responses"];
        ensure!(responses.is_object(), "{method} {path} is not described");
        let described = &responses[reply.status.to_string()];
        let refused = &self.0["components"]["responses"]["Refused"];
        let described = if described.is_null() { refused } else { described };
        let schema = &described["content"]["application/json"]["schema"];
        if schema.is_null() {
            ensure!(reply.text.is_empty(), "{method} {path}: {}", reply.text);
            return Ok(());
        }
        let whole = json!({"components": self.0["components"], "allOf": [schema]});
        validate(&whole, &reply.json).with_context(|| format!("{method} {path}"))
    }

    fn properties(&self, schema: &Value) -> BTreeSet<String> {
        let named = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next());
        let schema = named.map_or(schema, |name| &self.0["components"]["schemas"][name]);
        let properties = schema["properties"].as_object().map(Map::keys);
        properties.into_iter().flatten().cloned().collect()
    }
}

/// What users have a right to do with each table, by the method that does it, and with which columns.
async fn tables(db: &Client) -> Result<BTreeMap<(String, &'static str), BTreeSet<String>>> {
    let sql = "select table_name::text, privilege_type::text, column_name::text
      from information_schema.column_privileges
      where table_schema = 'public' and grantee = 'authenticated' and table_name in (
        'video_sessions', 'video_session_participants', 'video_session_invites', 'video_session_host_meta',
        'video_session_events', 'user_integrations_zoom'
      )";
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for row in db.query(sql, &[]).await? {
        let (table, privilege, column): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let method = match &*privilege {
            "SELECT" => "get",
            "INSERT" => "post",
            "UPDATE" => "patch",
            other => anyhow::bail!("{table}: {other}"),
        };
        found.entry((table, method)).or_default().insert(column);
    }
    Ok(found)
}

#[tokio::test]
async fn tables_columns_and_calls_are_those_of_the_catalog() -> Result<()> {
    let document = Document::read()?;
    let stack = Stack::start_local(StackOptions::default()).await?;
    let db = stack.db().await?;

    let paths = document.0["paths"].as_object().context("paths")?;
    let tables = tables(&db).await?;
    let described: BTreeSet<_> = paths.keys().filter_map(|path| path.strip_prefix('/')).collect();
    for ((table, method), columns) in &tables {
        let operation = &document.0["paths"][format!("/{table}")][method];
        let schema = match *method {
            "get" => &operation["responses"]["200"]["content"]["application/json"]["schema"]["items"],
            _ => &operation["requestBody"]["content"]["application/json"]["schema"],
        };
        let mut found = document.properties(schema);
        if table == "video_sessions" && *method == "get" {
            for computed in ["phase", "zoom_account"] {
                assert!(found.remove(computed), "{computed}");
            }
        }
        // A role is taken and has one value.
        let mut columns = columns.clone();
        if (&**table, *method) == ("video_session_participants", "post") {
            columns.remove("role");
        }
        assert_eq!(found, columns, "{method} {table}");
    }

    let sql = "select p.proname::text, coalesce(p.proargnames[1:p.pronargs], '{}')::text[] from pg_catalog.pg_proc p
      where p.pronamespace = 'public'::regnamespace and has_function_privilege('authenticated', p.oid, 'execute')
        and p.proname not in ('video_session_contacts', 'phase', 'zoom_account')";
    let mut calls = BTreeSet::new();
    for row in db.query(sql, &[]).await? {
        let (name, arguments): (String, Vec<String>) = (row.get(0), row.get(1));
        let operation = &document.0["paths"][format!("/rpc/{name}")]["post"];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(document.properties(schema), arguments.into_iter().collect(), "{name}");
        calls.insert(format!("rpc/{name}"));
    }
    let served: BTreeSet<_> = tables
        .keys()
        .map(|(table, _)| &**table)
        .chain(calls.iter().map(|call| &**call))
        .collect();
    assert_eq!(described, served);
    stack.stop().await
}

#[tokio::test]
async fn answers_and_refusals_are_as_described() -> Result<()> {
    let document = &Document::read()?;
    let stack = Stack::start_local(StackOptions::default()).await?;
    let host = &User::sign_in(&stack, "trainer").await?;
    let guest = &User::sign_in(&stack, "client1").await?;
    host.connect_zoom("trainer@zoom.test").await?;
    let guests = json!({"participant_ids": [guest.id()], "max_participants": 2});
    let session = host.call("create-session", &new_session(guests)).await?.ok()?;
    let of_it = format!("id=eq.{}", session["id"].as_str().context("an id")?);
    let expect = async |user: &User, method: Method, path: &str, query: &str, body: &Value, expected: (u16, &str)| {
        let reply = user.write(method.clone(), &format!("{path}?{query}"), body).await?;
        assert_eq!(
            (reply.status, reply.json["code"].as_str().unwrap_or("")),
            expected,
            "{path}: {}",
            reply.text
        );
        document.check(&method.as_str().to_lowercase(), &format!("/{path}"), &reply)
    };
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    let nothing = &json!({});

    let own_columns = "select=user_id,zoom_account_email,status,expires_at,connected_at,updated_at";
    for (path, query) in [
        ("video_sessions", "select=*,phase,zoom_account"),
        ("video_session_participants", ""),
        ("video_session_invites", ""),
        ("video_session_host_meta", ""),
        ("video_session_events", ""),
        ("user_integrations_zoom", own_columns),
    ] {
        for user in [host, guest] {
            let reply = user.select(&format!("{path}?{query}")).await?;
            assert_eq!(reply.status, 200, "{path}: {}", reply.text);
            document.check("get", &format!("/{path}"), &reply)?;
        }
    }
    expect(host, get, "user_integrations_zoom", "", nothing, (403, "42501")).await?;
    let changes = [
        (json!({"title": "Renamed", "duration_minutes": 45}), (200, "")),
        (json!({"duration_minutes": 50}), (400, "23514")),
        (json!({"scheduled_start": in_hours(-5)}), (400, "23514")),
        (json!({"host_id": guest.id()}), (403, "42501")),
        (json!({"status": "cancelled"}), (200, "")),
        (json!({"scheduled_start": in_hours(9)}), (400, "23514")),
    ];
    for (body, expected) in &changes {
        expect(host, patch.clone(), "video_sessions", &of_it, body, *expected).await?;
    }
    let another = User::sign_in(&stack, "client2").await?;
    for (user, expected) in [(guest, (409, "23505")), (&another, (400, "23514"))] {
        let seat = &json!({"session_id": session["id"], "user_id": user.id()});
        expect(host, post.clone(), "video_session_participants", "", seat, expected).await?;
    }
    for (call, body, expected) in [
        ("rpc/my_video_sessions", json!({"phase": "past"}), (200, "")),
        ("rpc/my_video_sessions", json!({"phase": "all"}), (400, "PT400")),
        ("rpc/video_sessions_waiting", json!({}), (200, "")),
        ("rpc/can_host_video_sessions", json!({"user_id": host.id()}), (200, "")),
        ("rpc/zoom_connection", json!({}), (200, "")),
        ("rpc/renew_share_code", json!({"session_id": session["id"]}), (204, "")),
        (
            "rpc/renew_share_code",
            json!({"session_id": guest.id()}),
            (404, "session_not_found"),
        ),
        (
            "rpc/confirm_zoom_connection",
            json!({"handle": "x"}),
            (404, "connection_not_confirmable"),
        ),
    ] {
        expect(host, post.clone(), call, "", &body, expected).await?;
    }
    expect(host, delete, "video_sessions", &of_it, nothing, (200, "")).await?;
    stack.stop().await
}
