//! `docs/openapi.yaml` says what the functions really answer: every error code is in it, every answer that can be
//! provoked is as it says, and a fuzzer finds none that it does not describe. The SQL in `docs/operations.md` runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::support::{new_session, Reply, User};
use anyhow::{bail, ensure, Context, Result};
use chrono::Utc;
use local_stack::zoom::{Answer, Endpoint, Fault, NewUser, Target};
use local_stack::{repository, Stack, StackOptions};
use reqwest::{Client, Method, RequestBuilder};
use ring::hmac;
use serde_json::{json, Value};
use strum::IntoEnumIterator;
use tokio::time::timeout;

const MAX_BODY_BYTES: usize = 64 * 1024;
/// It takes a minute.
const LONGEST_FUZZING: Duration = Duration::from_secs(300);
const WEBHOOK_SECRET: &str = "the secret of this test";

/// Documented answers that nothing here can provoke.
const OUT_OF_REACH: &[(&str, u16, &str)] = &[
    // Only where the configured target cannot stand in a header, or there is no randomness.
    ("get /zoom-oauth-callback", 500, "internal"),
];

/// An answer as the document tells them apart: the operation, the status, and the error's code (`ok` without one,
/// `page` for a page).
type Described = (String, u16, String);

/// The document.
struct Document {
    root: Value,
    seen: Mutex<BTreeSet<Described>>,
}

impl Document {
    fn read() -> Result<Self> {
        let text = fs::read_to_string(repository().join("docs/openapi.yaml"))?;
        Ok(Self {
            root: serde_norway::from_str(&text).context("docs/openapi.yaml")?,
            seen: Mutex::default(),
        })
    }

    /// What stands at a place, or where its reference leads.
    fn follow<'a>(&'a self, mut value: &'a Value) -> Result<&'a Value> {
        while let Some(reference) = value["$ref"].as_str() {
            let pointer = reference.trim_start_matches('#');
            value = self.root.pointer(pointer).with_context(|| reference.to_owned())?;
        }
        Ok(value)
    }

    /// Operations, by `method /function`.
    fn operations(&self) -> BTreeMap<String, &Value> {
        let paths = self.root["paths"].as_object().into_iter().flatten();
        paths
            .flat_map(|(path, item)| {
                item.as_object()
                    .into_iter()
                    .flatten()
                    .map(move |(m, o)| (format!("{m} {path}"), o))
            })
            .collect()
    }

    /// Every answer that is described.
    fn described(&self) -> Result<BTreeSet<Described>> {
        let mut described = BTreeSet::new();
        for (operation, details) in self.operations() {
            for (status, response) in details["responses"].as_object().context("no responses")? {
                let status: u16 = status.parse()?;
                let content = self.follow(response)?["content"].as_object();
                let whats = match content {
                    None => vec!["ok"],
                    Some(content) => content
                        .iter()
                        .flat_map(|(media_type, content)| whats(media_type, content))
                        .collect(),
                };
                described.extend(
                    whats
                        .into_iter()
                        .map(|what| (operation.clone(), status, what.to_owned())),
                );
            }
        }
        Ok(described)
    }

    /// Checks an answer against the document, and remembers it.
    fn check(&self, operation: &str, reply: &Reply) -> Result<()> {
        let operations = self.operations();
        let details = operations.get(operation).context("this operation is not described")?;
        let response = &details["responses"][reply.status.to_string()];
        ensure!(!response.is_null(), "{} is not described", reply.status);
        let response = self.follow(response)?;
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let header = self.follow(header)?;
            match reply.headers.get(name.as_str()) {
                None => ensure!(header["required"] != true, "the header {name} is missing"),
                Some(value) => {
                    let text = value.to_str()?;
                    let number = text.parse().ok().filter(|_| header["schema"]["type"] == "integer");
                    let value = number.map_or_else(|| json!(text), |number: i64| json!(number));
                    validate(&header["schema"], &value).with_context(|| name.clone())?;
                }
            }
        }
        let content = response["content"].as_object();
        let media_type = reply.header("content-type");
        let what = match content {
            None => {
                ensure!(reply.text.is_empty(), "a body where none is described");
                "ok"
            }
            Some(content) => {
                let described = content.get(media_type);
                let schema = &described.with_context(|| format!("{media_type:?} is not described"))?["schema"];
                let body = if is_page(media_type) {
                    &json!(reply.text)
                } else {
                    &reply.json
                };
                self.validate_exactly(schema, body)?;
                if is_page(media_type) {
                    "page"
                } else {
                    reply.code().1
                }
            }
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert((operation.to_owned(), reply.status, what.to_owned()));
        Ok(())
    }

    /// The examples of a request's or an answer's body, with their schemas.
    fn examples<'a>(&'a self, body: &'a Value) -> Result<Vec<(&'a Value, &'a Value)>> {
        let mut examples = Vec::new();
        let contents = self.follow(body)?["content"].as_object();
        for content in contents.into_iter().flat_map(|contents| contents.values()) {
            let several = content["examples"].as_object().into_iter().flat_map(|all| all.values());
            let all = several.map(|example| &example["value"]).chain(content.get("example"));
            examples.extend(all.map(|example| (&content["schema"], example)));
        }
        Ok(examples)
    }

    /// Validates against a schema of the document.
    fn validate(&self, schema: &Value, value: &Value) -> Result<()> {
        validate(&self.whole(schema), value)
    }

    /// Validates an answer. The document leaves its objects open, so that clients take what is added to them later;
    /// here nothing may be there that it does not name.
    fn validate_exactly(&self, schema: &Value, value: &Value) -> Result<()> {
        let mut whole = self.whole(schema);
        close_objects(&mut whole);
        validate(&whole, value)
    }

    /// A schema with what it may refer to.
    fn whole(&self, schema: &Value) -> Value {
        json!({"components": self.root["components"], "allOf": [schema]})
    }
}

/// Validates against a schema that refers to nothing outside of it.
pub fn validate(schema: &Value, value: &Value) -> Result<()> {
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .build(schema)?;
    let errors = validator.iter_errors(value);
    let errors: Vec<_> = errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    ensure!(errors.is_empty(), "{}\nin {value}", errors.join("\n"));
    Ok(())
}

/// How answers of this content are told apart.
fn whats<'a>(media_type: &str, content: &'a Value) -> Vec<&'a str> {
    if is_page(media_type) {
        return vec!["page"];
    }
    let codes = codes(&content["schema"]);
    if codes.is_empty() {
        vec!["ok"]
    } else {
        codes.into_iter().collect()
    }
}

fn is_page(media_type: &str) -> bool {
    media_type.starts_with("text/html")
}

/// The error codes that the schema of an answer allows.
fn codes(schema: &Value) -> BTreeSet<&str> {
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let code = parts.map(|part| &part["properties"]["code"]);
    code.flat_map(|code| code["const"].as_str().into_iter().chain(texts(&code["enum"])))
        .collect()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn close_objects(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("type").is_some_and(|kind| kind == "object") && !fields.contains_key("additionalProperties") {
                fields.insert("unevaluatedProperties".to_owned(), json!(false));
            }
            fields.values_mut().for_each(close_objects);
        }
        Value::Array(items) => items.iter_mut().for_each(close_objects),
        _ => {}
    }
}

/// Status and code of every error that there is.
fn codes_of_the_source() -> BTreeSet<(u16, String)> {
    let errors = shared::error::Error::iter();
    errors
        .map(|error| (error.status().as_u16(), error.code().to_owned()))
        .collect()
}

#[test]
fn every_error_code_is_described_and_no_other() -> Result<()> {
    let document = Document::read()?;
    let source = codes_of_the_source();
    let error = &document.root["components"]["schemas"]["Error"];
    let listed: BTreeSet<&str> = texts(&error["properties"]["code"]["enum"]).collect();
    assert_eq!(listed, source.iter().map(|(_, code)| code.as_str()).collect());
    let described = document.described()?.into_iter();
    let answered: BTreeSet<_> = described
        .filter(|(_, _, what)| !matches!(what.as_str(), "ok" | "page"))
        .map(|(_, status, code)| (status, code))
        .collect();
    assert_eq!(answered, source);
    let table = error["description"].as_str().context("no description")?;
    for (status, code) in &source {
        let row = table.lines().find(|line| line.starts_with(&format!("| {status} |")));
        assert!(
            row.is_some_and(|row| row.contains(&format!("`{code}`"))),
            "{status} {code} in the table"
        );
    }
    Ok(())
}

#[test]
fn every_example_is_valid() -> Result<()> {
    let document = Document::read()?;
    let mut examples = 0;
    for (operation, details) in document.operations() {
        for (schema, example) in document.examples(&details["requestBody"])? {
            document.validate(schema, example).with_context(|| operation.clone())?;
            examples += 1;
        }
        for response in details["responses"]
            .as_object()
            .into_iter()
            .flat_map(|all| all.values())
        {
            for (schema, example) in document.examples(response)? {
                let valid = document.validate_exactly(schema, example);
                valid.with_context(|| operation.clone())?;
                examples += 1;
            }
        }
    }
    assert!(examples > 20, "{examples}");
    Ok(())
}

/// The statements in docs/operations.md fit the schema. Those that need what only a project has are left out.
#[tokio::test]
async fn the_statements_for_operators_run() -> Result<()> {
    let text = fs::read_to_string(repository().join("docs/operations.md"))?;
    let stack = Stack::start_local(StackOptions {
        worker_processes: 0,
        ..StackOptions::default()
    })
    .await?;
    let db = stack.db().await?;
    let blocks = text
        .split("```sql\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let mut ran = 0;
    for block in blocks.filter(|block| !block.contains("vault.") && !block.contains('…')) {
        let statement = block.replace("<id of the first key>", "k1");
        db.batch_execute(&format!("begin;\n{statement}\n;rollback"))
            .await
            .with_context(|| statement.clone())?;
        ran += 1;
    }
    assert!(ran >= 7, "{ran}");
    stack.stop().await
}

/// A stack, and the document that its answers have to fit.
struct Trial<'a> {
    document: &'a Document,
    stack: &'a Stack,
    nobody: User,
}

impl<'a> Trial<'a> {
    fn new(document: &'a Document, stack: &'a Stack) -> Self {
        let nobody = User::nobody(stack);
        Self {
            document,
            stack,
            nobody,
        }
    }

    /// Sends a request; the answer has to be described, and of this status and code.
    async fn expect(&self, operation: &str, request: RequestBuilder, status: u16, code: &str) -> Result<Reply> {
        let reply = Reply::read(request.send().await?).await?;
        let shown = format!(
            "{operation}, expecting {status} {code}: {} {:.1000}",
            reply.status, reply.text
        );
        self.document.check(operation, &reply).with_context(|| shown.clone())?;
        ensure!(reply.code() == (status, code), "{shown}");
        Ok(reply)
    }

    /// Calls a function as a user.
    async fn call(&self, user: &User, function: &str, body: &Value, status: u16, code: &str) -> Result<Value> {
        let request = user
            .request(Method::POST, &format!("/functions/v1/{function}"))
            .json(body);
        Ok(self
            .expect(&format!("post /{function}"), request, status, code)
            .await?
            .json)
    }

    /// Calls a function as a service.
    async fn call_as_service(&self, function: &str, status: u16, code: &str) -> Result<Value> {
        let address = format!("{}/functions/v1/{function}", self.stack.url());
        let request = Client::new().post(address).header("apikey", self.stack.secret_key());
        Ok(self
            .expect(&format!("post /{function}"), request, status, code)
            .await?
            .json)
    }

    /// Opens an address of the callback as a browser; the page's link has to end like this.
    async fn come_back(&self, address: &str, status: u16, ending: &str) -> Result<()> {
        let reply = self.nobody.browse(address).await?;
        self.document
            .check("get /zoom-oauth-callback", &reply)
            .with_context(|| format!("{address}: {}", reply.text))?;
        ensure!(
            reply.status == status && reply.text.contains(ending),
            "{address}: {} {}",
            reply.status,
            reply.text
        );
        Ok(())
    }

    fn callback(&self, query: &str) -> String {
        format!("{}/functions/v1/zoom-oauth-callback?{query}", self.stack.url())
    }

    /// An event as Zoom signs it.
    fn event(&self, body: String) -> RequestBuilder {
        let timestamp = Utc::now().timestamp().to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
        let tag = hmac::sign(&key, format!("v0:{timestamp}:{body}").as_bytes());
        let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Client::new()
            .post(format!("{}/functions/v1/zoom-webhook", self.stack.url()))
            .header("content-type", "application/json")
            .header("x-zm-request-timestamp", timestamp)
            .header("x-zm-signature", format!("v0={tag}"))
            .body(body)
    }

    async fn send_event(&self, event: Value, outcome: &str) -> Result<()> {
        let reply = self
            .expect("post /zoom-webhook", self.event(event.to_string()), 200, "ok")
            .await?;
        ensure!(reply.json["outcome"] == outcome, "{event}: {}", reply.text);
        Ok(())
    }

    /// A trainer who has connected a Zoom account of their own.
    async fn host(&self, name: &str) -> Result<User> {
        let host = User::create(self.stack, name, Some("trainer")).await?;
        self.connect(&host, &format!("{name}@zoom.example")).await?;
        Ok(host)
    }

    /// Connects a new Zoom user.
    async fn connect(&self, host: &User, zoom_email: &str) -> Result<()> {
        self.stack.zoom().create_user(NewUser::named(zoom_email))?;
        let page = host.connect_zoom(zoom_email).await?;
        self.document.check("get /zoom-oauth-callback", &page)?;
        ensure!(page.status == 200, "{}", page.text);
        Ok(())
    }

    /// Orders an answer of Zoom's to the next call of an endpoint.
    fn zoom_answers(&self, target: impl Into<Target>, answer: Answer) -> Result<()> {
        self.stack.zoom().order(Fault::at(target).answering(answer))?;
        Ok(())
    }

    async fn sql(&self, statements: &str) -> Result<()> {
        self.stack
            .db()
            .await?
            .batch_execute(statements)
            .await
            .with_context(|| statements.to_owned())
    }
}

/// Zoom's refusals that the API's callers see, by the code that they become.
fn refusals() -> [(Answer, u16, &'static str); 5] {
    let day = "You have exceeded the daily rate limit (100) of Meeting Create/Update API requests.";
    [
        (Answer::api_error(429, 429, day), 429, "zoom_daily_limit"),
        (
            Answer::api_error(429, 429, "Try again later."),
            503,
            "zoom_rate_limited",
        ),
        (Answer::api_error(400, 300, "Validation Failed."), 502, "zoom_rejected"),
        (Answer::api_error(400, 3161, "Not allowed."), 403, "zoom_cannot_host"),
        // This one ends the connection.
        (
            Answer::api_error(400, 4711, "Does not contain scopes."),
            403,
            "missing_scope",
        ),
    ]
}

#[tokio::test]
async fn answers_are_as_described() -> Result<()> {
    let document = Document::read()?;
    let env = BTreeMap::from([("ZOOM_WEBHOOK_SECRET_TOKEN".to_owned(), WEBHOOK_SECRET.to_owned())]);
    let options = StackOptions {
        env,
        ..StackOptions::default()
    };
    let stack = Stack::start_local(options).await?;
    let trial = Trial::new(&document, &stack);
    for_everybody(&trial).await?;
    the_connection(&trial).await?;
    creating(&trial).await?;
    starting(&trial).await?;
    joining(&trial).await?;
    events(&trial).await?;
    services(&trial).await?;
    faults_of_ours(&trial).await?;
    stack.stop().await?;

    let env = BTreeMap::from([(
        "APP_REDIRECT_URI".to_owned(),
        "https://app.example/connected".to_owned(),
    )]);
    let stack = Stack::start_local(StackOptions {
        env,
        ..StackOptions::default()
    })
    .await?;
    let trial = Trial::new(&document, &stack);
    trial.come_back(&trial.callback("state=x"), 302, "").await?;
    stack.stop().await?;

    let env = BTreeMap::from([("SUPABASE_URL".to_owned(), String::new())]);
    let stack = Stack::start_local(StackOptions {
        env,
        ..StackOptions::default()
    })
    .await?;
    let trial = Trial::new(&document, &stack);
    for operation in document.operations().keys() {
        let (method, path) = operation.split_once(' ').context("method and path")?;
        let method: Method = method.to_uppercase().parse()?;
        let request = trial.nobody.request(method, &format!("/functions/v1{path}"));
        trial.expect(operation, request, 500, "misconfigured").await?;
    }
    stack.stop().await?;

    let described = document.described()?;
    let seen = document.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    let out_of_reach = |(operation, status, what): &&Described| {
        let crash = operation.starts_with("options") && what == "internal";
        crash || OUT_OF_REACH.contains(&(operation, *status, what))
    };
    let unseen: Vec<_> = described
        .difference(&seen)
        .filter(|answer| !out_of_reach(answer))
        .collect();
    assert!(unseen.is_empty(), "described, and never answered: {unseen:#?}");
    println!("{} of {} described answers were seen", seen.len(), described.len());
    Ok(())
}

/// What every function answers alike.
async fn for_everybody(trial: &Trial<'_>) -> Result<()> {
    let trainer = User::sign_in(trial.stack, "trainer").await?;
    let user_id = trainer.signed_in.as_ref().context("signed in")?.user_id;
    let forged = trial.stack.issuer().forged_tokens(user_id)?;
    let expired = forged
        .iter()
        .find(|forged| forged.expired)
        .context("no expired token")?;
    for (operation, details) in trial.document.operations() {
        let (method, path) = operation.split_once(' ').context("method and path")?;
        let path = format!("/functions/v1{path}");
        if method == "options" {
            trial
                .expect(&operation, trial.nobody.request(Method::OPTIONS, &path), 204, "ok")
                .await?;
            continue;
        }
        let method: Method = method.to_uppercase().parse()?;
        // Who calls is looked at first. Of the others nobody reads a body: it means nothing there.
        let reads_body = ["create-session", "start-session", "join-session", "zoom-webhook"];
        if reads_body.iter().any(|function| path.ends_with(function)) {
            let large = trainer
                .request(method.clone(), &path)
                .header("content-type", "application/json")
                .body(vec![b' '; MAX_BODY_BYTES + 1]);
            trial.expect(&operation, large, 413, "payload_too_large").await?;
        }
        let wrong = if method == Method::GET {
            Method::POST
        } else {
            Method::GET
        };
        for method in [wrong, Method::PUT, Method::PATCH, Method::DELETE] {
            let request = trial.nobody.request(method, &path);
            trial.expect(&operation, request, 405, "method_not_allowed").await?;
        }
        if details["security"] != json!([]) {
            let request = trial.nobody.request(Method::POST, &path).json(&json!({}));
            trial.expect(&operation, request, 401, "unauthorized").await?;
        }
        if details["security"][0].get("userToken").is_some() {
            let request = trial.nobody.request(Method::POST, &path).bearer_auth(&expired.token);
            trial.expect(&operation, request, 401, "token_expired").await?;
        }
        if details["responses"].get("415").is_some() {
            let request = trainer
                .request(Method::POST, &path)
                .header("content-type", "text/plain")
                .body("{}");
            trial.expect(&operation, request, 415, "unsupported_media_type").await?;
            for (body, code) in [("[]", "invalid_json"), (r#"{"x":1}"#, "invalid_request")] {
                let request = trainer
                    .request(Method::POST, &path)
                    .header("content-type", "application/json")
                    .body(body);
                trial.expect(&operation, request, 400, code).await?;
            }
        }
    }
    Ok(())
}

async fn the_connection(trial: &Trial<'_>) -> Result<()> {
    let (zoom, email) = (trial.stack.zoom(), "connecting@zoom.example");
    let trainer = User::create(trial.stack, "connecting", Some("trainer")).await?;
    let client = User::sign_in(trial.stack, "client1").await?;
    trial
        .call(&client, "zoom-oauth-start", &json!({}), 403, "not_a_host")
        .await?;
    let state = trial.call(&trainer, "refresh-token", &json!({}), 200, "ok").await?;
    assert_eq!(state["state"], "not_connected");
    trial.call(&trainer, "zoom-disconnect", &json!({}), 200, "ok").await?;

    trial
        .come_back(&trial.callback("state=x"), 400, "error=invalid_state")
        .await?;
    zoom.create_user(NewUser::named(email))?;
    let deny = async |decision| {
        let started = trial.call(&trainer, "zoom-oauth-start", &json!({}), 200, "ok").await?;
        trainer.consent(&started, email, decision).await
    };
    trial
        .come_back(&deny("deny").await?, 400, "error=access_denied")
        .await?;
    let late = deny("allow").await?;
    trial
        .sql("update video_sessions_private.zoom_oauth_states set expires_at = now()")
        .await?;
    trial.come_back(&late, 400, "error=state_expired").await?;
    trial.zoom_answers(Target::TOKEN_EXCHANGE, Answer::bad_gateway())?;
    trial
        .come_back(&deny("allow").await?, 503, "error=zoom_unavailable")
        .await?;
    trial.zoom_answers(
        Target::TOKEN_EXCHANGE,
        Answer::oauth_error(400, "invalid_grant", "Invalid Token!"),
    )?;
    trial
        .come_back(&deny("allow").await?, 502, "error=token_exchange_failed")
        .await?;
    zoom.set_scopes(email, &["user:read:user"])?;
    trial
        .come_back(&deny("allow").await?, 400, "error=missing_scope")
        .await?;
    zoom.set_scopes(email, &local_stack::zoom::GRANULAR_SCOPES)?;
    let allowed = deny("allow").await?;
    trial.come_back(&allowed, 200, "success=1").await?;
    trainer.come_back(&allowed).await?;

    let state = trial.call(&trainer, "refresh-token", &json!({}), 200, "ok").await?;
    assert_eq!(state["state"], "connected");
    let due = format!(
        "update public.user_integrations_zoom set access_token_expires_at = now() where user_id = '{}'",
        trainer.id()
    );
    trial.sql(&due).await?;
    trial.zoom_answers(Target::TOKEN_REFRESH, Answer::bad_gateway())?;
    trial
        .call(&trainer, "refresh-token", &json!({}), 503, "zoom_unavailable")
        .await?;
    trial
        .sql("update public.user_integrations_zoom set cooldown_until = null")
        .await?;
    trial.zoom_answers(
        Target::TOKEN_REFRESH,
        Answer::oauth_error(400, "invalid_client", "Invalid client_id or client_secret"),
    )?;
    trial
        .call(&trainer, "refresh-token", &json!({}), 500, "misconfigured")
        .await?;
    trial
        .sql("update public.user_integrations_zoom set cooldown_until = null")
        .await?;
    trial.zoom_answers(
        Target::TOKEN_REFRESH,
        Answer::oauth_error(400, "invalid_grant", "Invalid Token!"),
    )?;
    let state = trial.call(&trainer, "refresh-token", &json!({}), 200, "ok").await?;
    assert_eq!(state["state"], "expired");
    trial.call(&trainer, "zoom-disconnect", &json!({}), 200, "ok").await?;
    Ok(())
}

/// Gives another reason for the end of a host's connection.
fn revoked(host: &User) -> String {
    format!(
        "update public.user_integrations_zoom set expired_reason = 'revoked' where user_id = '{}'",
        host.id()
    )
}

async fn creating(trial: &Trial<'_>) -> Result<()> {
    let create = async |host: &User, key: &str, changes: Value, status: u16, code: &str| {
        let request = host
            .request(Method::POST, "/functions/v1/create-session")
            .header("idempotency-key", key);
        let reply = trial
            .expect(
                "post /create-session",
                request.json(&new_session(changes)),
                status,
                code,
            )
            .await?;
        Ok::<_, anyhow::Error>(reply.json)
    };
    let host = trial.host("creating").await?;
    let client = User::sign_in(trial.stack, "client1").await?;
    trial
        .call(&client, "create-session", &new_session(json!({})), 403, "not_a_host")
        .await?;
    let unconnected = User::create(trial.stack, "unconnected", Some("nutritionist")).await?;
    trial
        .call(
            &unconnected,
            "create-session",
            &new_session(json!({})),
            403,
            "zoom_not_connected",
        )
        .await?;
    let external = json!({"provider": "external", "join_url": "https://meet.example/room"});
    create(&unconnected, "e", external, 200, "ok").await?;

    let full = json!({"timezone": "Europe/Berlin", "description": "Bring a mat.", "participant_ids": [client.id()]});
    let session = create(&host, "a", full.clone(), 200, "ok").await?;
    let start = session["scheduled_start"].clone();
    let again = create(&host, "b", json!({"scheduled_start": start}), 200, "ok").await?;
    assert_eq!(
        create(&host, "b", json!({"scheduled_start": start}), 200, "ok").await?,
        again
    );
    create(
        &host,
        "b",
        json!({"scheduled_start": start, "title": "Another"}),
        422,
        "idempotency_key_reused",
    )
    .await?;
    let id = again["id"].as_str().context("no id")?;
    host.write(Method::DELETE, &format!("video_sessions?id=eq.{id}"), &json!({}))
        .await?
        .ok()?;
    create(&host, "b", json!({"scheduled_start": start}), 410, "session_gone").await?;

    let lost = Fault::at(Endpoint::CreateMeeting).after_acting().dropping();
    trial.stack.zoom().order(lost)?;
    create(
        &host,
        "c",
        json!({"scheduled_start": start}),
        503,
        "zoom_outcome_unknown",
    )
    .await?;
    create(&host, "c", json!({"scheduled_start": start}), 409, "creation_running").await?;

    for (answer, status, code) in refusals() {
        trial.zoom_answers(Endpoint::CreateMeeting, answer)?;
        create(&host, "d", json!({}), status, code).await?;
    }
    create(&host, "d", json!({}), 403, "missing_scope").await?;
    trial.sql(&revoked(&host)).await?;
    create(&host, "d", json!({}), 403, "zoom_expired").await?;
    let host = trial.host("busy").await?;
    let quota = format!(
        "insert into video_sessions_private.quota_uses (user_id, quota, used, window_started_at)
         select '{}', name, most, now() from video_sessions_private.quotas where name like '%an_hour'
         on conflict (user_id, quota) do update set used = excluded.used",
        host.id()
    );
    trial.sql(&quota).await?;
    create(&host, "g", json!({}), 429, "quota_reached").await?;
    trial
        .call(&host, "zoom-oauth-start", &json!({}), 429, "quota_reached")
        .await?;
    let host = trial.host("cooling").await?;
    let due = format!(
        "update public.user_integrations_zoom set access_token_expires_at = now() where user_id = '{}'",
        host.id()
    );
    trial.sql(&due).await?;
    trial.zoom_answers(Target::TOKEN_REFRESH, Answer::bad_gateway())?;
    create(&host, "f", json!({}), 503, "zoom_unavailable").await?;
    Ok(())
}

async fn starting(trial: &Trial<'_>) -> Result<()> {
    let host = trial.host("starting").await?;
    let client = User::sign_in(trial.stack, "client2").await?;
    let forget_start_urls = "delete from public.video_session_host_meta";
    let create = async |changes: Value| {
        let session = trial
            .call(&host, "create-session", &new_session(changes), 200, "ok")
            .await?;
        Ok::<_, anyhow::Error>(json!({"session_id": session["id"]}))
    };
    let external = create(json!({"provider": "external", "join_url": "https://meet.example/room"})).await?;
    let link = trial.call(&host, "start-session", &external, 200, "ok").await?;
    assert_eq!(
        link,
        json!({"host_start_url": "https://meet.example/room", "expires_at": null})
    );

    let session = create(json!({"participant_ids": [client.id()]})).await?;
    trial.call(&host, "start-session", &session, 200, "ok").await?;
    trial.sql(forget_start_urls).await?;
    trial.call(&host, "start-session", &session, 200, "ok").await?;
    trial
        .call(&client, "start-session", &session, 403, "not_the_host")
        .await?;
    let banned = format!("update auth.users set banned_until = %s where id = '{}'", host.id());
    trial.sql(&banned.replace("%s", "now() + interval '1 hour'")).await?;
    trial.call(&host, "start-session", &session, 403, "not_a_host").await?;
    trial.sql(&banned.replace("%s", "null")).await?;
    let unknown = json!({"session_id": "00000000-0000-4000-8000-000000000000"});
    trial
        .call(&host, "start-session", &unknown, 404, "session_not_found")
        .await?;

    for status in ["ended", "cancelled"] {
        let over = create(json!({})).await?;
        let path = format!("video_sessions?id=eq.{}", over["session_id"].as_str().context("no id")?);
        host.write(Method::PATCH, &path, &json!({"status": status}))
            .await?
            .ok()?;
        let code = if status == "ended" {
            "session_ended"
        } else {
            "session_gone"
        };
        trial.call(&host, "start-session", &over, 410, code).await?;
    }

    trial.sql(forget_start_urls).await?;
    trial.zoom_answers(Endpoint::GetMeeting, Answer::bad_gateway())?;
    trial
        .call(&host, "start-session", &session, 503, "zoom_unavailable")
        .await?;
    for (answer, status, code) in refusals() {
        trial.zoom_answers(Endpoint::GetMeeting, answer)?;
        trial.call(&host, "start-session", &session, status, code).await?;
    }
    trial
        .call(&host, "start-session", &session, 403, "missing_scope")
        .await?;
    trial.sql(&revoked(&host)).await?;
    trial
        .call(&host, "start-session", &session, 403, "zoom_expired")
        .await?;
    trial.connect(&host, "another@zoom.example").await?;
    trial
        .call(&host, "start-session", &session, 403, "zoom_other_account")
        .await?;
    trial.call(&host, "zoom-disconnect", &json!({}), 200, "ok").await?;
    trial
        .call(&host, "start-session", &session, 403, "zoom_not_connected")
        .await?;
    Ok(())
}

async fn joining(trial: &Trial<'_>) -> Result<()> {
    let host = trial.host("joining").await?;
    let client = User::create(trial.stack, "joins", None).await?;
    let session = trial
        .call(&host, "create-session", &new_session(json!({})), 200, "ok")
        .await?;
    let code = json!({"share_code": session["share_code"]});
    let look = json!({"share_code": session["share_code"], "preview": true});
    let anonymous = format!("update auth.users set is_anonymous = %s where id = '{}'", client.id());
    trial.sql(&anonymous.replace("%s", "true")).await?;
    trial
        .call(&client, "join-session", &code, 403, "anonymous_not_allowed")
        .await?;
    trial.sql(&anonymous.replace("%s", "false")).await?;
    let shown = trial.call(&client, "join-session", &look, 200, "ok").await?;
    assert_eq!(shown["joined"], false);
    let joined = trial.call(&client, "join-session", &code, 200, "ok").await?;
    assert_eq!(joined["id"], session["id"]);
    let wrong = json!({"share_code": "0"});
    for _ in 0..10 {
        trial
            .call(&client, "join-session", &wrong, 404, "session_not_joinable")
            .await?;
    }
    trial
        .call(&client, "join-session", &code, 429, "too_many_attempts")
        .await?;
    Ok(())
}

async fn events(trial: &Trial<'_>) -> Result<()> {
    let host = trial.host("telling").await?;
    let session = trial
        .call(&host, "create-session", &new_session(json!({})), 200, "ok")
        .await?;
    let event = |name: &str, id: &Value| json!({"event": name, "event_ts": 1, "payload": {"object": {"id": id}}});
    trial
        .send_event(event("meeting.started", &session["provider_meeting_id"]), "applied")
        .await?;
    trial
        .send_event(event("meeting.started", &session["provider_meeting_id"]), "duplicate")
        .await?;
    // The creation that was left open above may be this meeting's.
    trial.send_event(event("meeting.started", &json!(77)), "kept").await?;
    trial
        .sql("update video_sessions_private.session_creations set state = 'failed', request = null, closed_at = now() where closed_at is null")
        .await?;
    trial
        .send_event(event("meeting.started", &json!("78")), "ignored")
        .await?;
    trial
        .send_event(json!({"event": "user.created", "payload": {}}), "ignored")
        .await?;
    let row = trial.stack.db().await?;
    let row = row
        .query_one(
            "select zoom_user_id, zoom_account_id from public.user_integrations_zoom limit 1",
            &[],
        )
        .await?;
    let later = Utc::now() + chrono::TimeDelta::minutes(1);
    let gone = json!({"event": "app_deauthorized", "event_ts": 1, "payload": {
        "client_id": trial.stack.zoom().client_id(), "user_id": row.get::<_, String>(0),
        "account_id": row.get::<_, String>(1), "deauthorization_time": later,
    }});
    trial.send_event(gone, "deauthorized").await?;

    let check =
        json!({"event": "endpoint.url_validation", "event_ts": 1, "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}});
    let reply = trial
        .expect("post /zoom-webhook", trial.event(check.to_string()), 200, "ok")
        .await?;
    assert_eq!(reply.json["plainToken"], "qgg8vlvZRS6UYooatFL8Aw");
    trial
        .expect("post /zoom-webhook", trial.event("{}".to_owned()), 400, "invalid_json")
        .await?;
    Ok(())
}

async fn services(trial: &Trial<'_>) -> Result<()> {
    let counts = trial.call_as_service("refresh-token", 200, "ok").await?;
    assert_eq!(counts["on_older_keys"], 0);
    trial.call_as_service("zoom-sync", 200, "ok").await?;
    let host = trial.host("hasty").await?;
    trial.call(&host, "zoom-sync", &json!({}), 200, "ok").await?;
    Ok(())
}

/// A database that is overloaded, and one that refuses: by the first step of each function.
async fn faults_of_ours(trial: &Trial<'_>) -> Result<()> {
    let host = trial.host("unlucky").await?;
    for (sqlstate, status, code) in [("53300", 503, "service_unavailable"), ("P0001", 500, "internal")] {
        for (function, step, body) in [
            ("zoom-oauth-start", "edge_oauth_begin", json!({})),
            ("zoom-disconnect", "edge_disconnect_begin", json!({})),
            ("zoom-sync", "edge_outbox_claim", json!({})),
            ("refresh-token", "edge_token_claim", json!({})),
            ("create-session", "edge_session_begin", new_session(json!({}))),
            ("start-session", "edge_start_begin", json!({"session_id": host.id()})),
            ("join-session", "edge_join", json!({"share_code": "x"})),
        ] {
            let broken = Broken::step(trial.stack, step, sqlstate).await?;
            trial.call(&host, function, &body, status, code).await?;
            broken.mend().await?;
        }
        let broken = Broken::step(trial.stack, "edge_webhook_receive", sqlstate).await?;
        let event = json!({"event": "meeting.ended", "payload": {"object": {"id": 79}}});
        trial
            .expect("post /zoom-webhook", trial.event(event.to_string()), status, code)
            .await?;
        broken.mend().await?;
        let broken = Broken::step(trial.stack, "edge_sync_due", sqlstate).await?;
        trial.call_as_service("zoom-sync", status, code).await?;
        broken.mend().await?;
        let broken = Broken::step(trial.stack, "edge_oauth_consume", sqlstate).await?;
        let query = format!("code=x&state={}", "A".repeat(43));
        trial
            .come_back(&trial.callback(&query), 500, "error=server_error")
            .await?;
        broken.mend().await?;
    }
    Ok(())
}

/// A step of the database that fails.
struct Broken {
    db: tokio_postgres::Client,
    mend: String,
}

impl Broken {
    async fn step(stack: &Stack, name: &str, sqlstate: &str) -> Result<Self> {
        let db = stack.db().await?;
        let row = db
            .query_one(
                "select pg_get_function_identity_arguments(oid), pg_get_function_arguments(oid) from pg_proc
                 where proname = $1 and pronamespace = 'public'::regnamespace",
                &[&name],
            )
            .await?;
        let (identity, arguments): (String, String) = (row.get(0), row.get(1));
        db.batch_execute(&format!(
            "alter function public.{name}({identity}) rename to {name}_aside;
             create function public.{name}({arguments}) returns jsonb language plpgsql as
             $$ begin raise sqlstate '{sqlstate}'; end $$;"
        ))
        .await?;
        let mend = format!(
            "drop function public.{name}({identity});
             alter function public.{name}_aside({identity}) rename to {name};"
        );
        Ok(Self { db, mend })
    }

    async fn mend(self) -> Result<()> {
        Ok(self.db.batch_execute(&self.mend).await?)
    }
}

/// Requests made up from the document, good ones and bad ones: no 5xx, and no answer that it does not describe.
#[tokio::test]
async fn a_fuzzer_finds_no_other_answer() -> Result<()> {
    let schemathesis = tokio::task::spawn_blocking(install_schemathesis).await??;
    let env = BTreeMap::from([("ZOOM_WEBHOOK_SECRET_TOKEN".to_owned(), WEBHOOK_SECRET.to_owned())]);
    let options = StackOptions {
        env,
        ..StackOptions::default()
    };
    let stack = Stack::start_local(options).await?;
    let document = Document::read()?;
    let trial = Trial::new(&document, &stack);
    let (host, other) = (trial.host("fuzzed").await?, trial.host("disconnecting").await?);
    let client = User::sign_in(&stack, "client1").await?;
    let token = |user: &User| {
        user.signed_in
            .as_ref()
            .map(|user| user.access_token.clone())
            .unwrap_or_default()
    };

    let settings = repository().join("tests/openapi");
    let run_dir = target_dir().join("schemathesis-run");
    let report = run_dir.join("report.ndjson");
    let _ = fs::remove_dir_all(&run_dir);
    fs::create_dir_all(&run_dir)?;
    let mut command = tokio::process::Command::new(schemathesis);
    command
        .arg("--config-file")
        .arg(settings.join("schemathesis.toml"))
        .arg("run")
        .arg(repository().join("docs/openapi.yaml"))
        .args(["--url", &format!("{}/functions/v1", stack.url()), "--no-color"])
        .current_dir(run_dir)
        .env("PYTHONPATH", &settings)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HOST_TOKEN", token(&host))
        .env("OTHER_TOKEN", token(&other))
        .env("PARTICIPANT_ID", client.id())
        .env("SECRET_KEY", stack.secret_key())
        .env("WEBHOOK_SECRET", WEBHOOK_SECRET)
        .stdin(Stdio::null());
    let output = timeout(LONGEST_FUZZING, command.kill_on_drop(true).output()).await??;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answers = answers_to_the_fuzzer(&fs::read_to_string(report)?)?;
    println!("{} requests: {answers:#?}", answers.values().sum::<usize>());
    let operations = document.operations();
    // A share code cannot be guessed.
    let reachable = |operation: &&String| operation.starts_with("post") && *operation != "post /join-session";
    for operation in operations.keys().filter(reachable) {
        let good = answers.contains_key(&(operation.clone(), 200));
        ensure!(good, "{operation}: the fuzzer came to no good answer");
    }
    stack.stop().await
}

/// How often each operation gave each status, from the fuzzer's report.
fn answers_to_the_fuzzer(report: &str) -> Result<BTreeMap<(String, u64), usize>> {
    let mut answers = BTreeMap::new();
    for line in report.lines() {
        let event: Value = serde_json::from_str(line)?;
        let recorder = &event["ScenarioFinished"]["recorder"];
        for (id, interaction) in recorder["interactions"].as_object().into_iter().flatten() {
            let case = &recorder["cases"][id]["value"];
            let [method, path] = ["method", "path"].map(|name| case[name].as_str().unwrap_or_default());
            let status = interaction["response"]["status_code"].as_u64().unwrap_or_default();
            *answers
                .entry((format!("{} {path}", method.to_lowercase()), status))
                .or_default() += 1;
        }
    }
    Ok(answers)
}

fn target_dir() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().unwrap_or(tmp).to_owned()
}

/// The fuzzer, from PyPI, in a directory of its own; gives its program.
fn install_schemathesis() -> Result<PathBuf> {
    const NEEDED: &str =
        "the fuzzer needs Python 3.10 or newer with its modules venv and pip: install python3 and python3-venv";
    let (dir, requirements) = (
        target_dir().join("schemathesis-venv"),
        repository().join("tests/openapi/requirements.txt"),
    );
    fs::create_dir_all(target_dir())?;
    let lock = File::create(target_dir().join("schemathesis-venv.lock"))?;
    lock.lock()?;
    let stamp = dir.join("installed-requirements.txt");
    let wanted = fs::read(&requirements)?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(dir.join("bin/schemathesis"));
    }
    let run = |command: &mut Command| {
        let output = command.stdin(Stdio::null()).output();
        let output = output.with_context(|| NEEDED)?;
        if !output.status.success() {
            bail!(
                "{NEEDED}\n{}",
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
            );
        }
        Ok(())
    };
    run(Command::new("python3").args(["-c", "import sys, venv, ensurepip; assert sys.version_info >= (3, 10)"]))?;
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
    let mut pip = Command::new(dir.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ]);
    run(pip.arg(&requirements)).context("installing the fuzzer from PyPI")?;
    fs::write(stamp, wanted)?;
    Ok(dir.join("bin/schemathesis"))
}
