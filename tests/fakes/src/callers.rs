//! Who calls a function: a user of the app, a service of the project, a browser, Zoom.

use base64::{engine::general_purpose::URL_SAFE_NO_PAD, Engine};
use bytes::Bytes;
use http::{header, HeaderMap, Request};
use ring::hmac;
use serde_json::{json, Value};
use shared::{
    call::{self, Endpoint, RequestContext},
    error::Error,
    serve::{serve, App},
    time::now,
};
use uuid::Uuid;

use crate::{Fakes, SECRET_KEY, USER, WEBHOOK_SECRET};

/// The secret that signs users' tokens.
const JWT_SECRET: &[u8] = b"a secret that is at least thirty-two bytes long";

/// What a function answered.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as JSON; null where it is none.
    pub body: Value,
}

impl Reply {
    /// Status and code of a refusal; `ok` where there is no code.
    pub fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or("ok"))
    }

    /// A header's text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Fakes {
    /// Runs a request through a function, as in production: [`serve`] and what it does around the handler.
    pub async fn call(
        &self,
        endpoint: &Endpoint,
        handler: impl AsyncFnOnce(&RequestContext<'_>) -> Result<call::Answer, Error>,
        request: Request<String>,
    ) -> Reply {
        let app = App::new(|name| self.variable(name), endpoint);
        let request = request.map(|text| call::body(Bytes::from(text)));
        let answer = serve(&app, endpoint, Ok(request), handler).await;
        Reply {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: serde_json::from_slice(answer.body()).unwrap_or(Value::Null),
        }
    }

    /// A `POST` by [`USER`].
    pub fn as_user(&self, body: &Value) -> Request<String> {
        let token = self.token(USER);
        request(
            "POST",
            "/",
            &[("authorization", &format!("Bearer {token}"))],
            body.to_string(),
        )
    }

    /// A `POST` by a service.
    pub fn as_service(&self, body: &Value) -> Request<String> {
        request("POST", "/", &[("apikey", SECRET_KEY)], body.to_string())
    }

    /// A `GET` by a browser, with a query string.
    pub fn as_browser(&self, query: &str) -> Request<String> {
        request("GET", &format!("/?{query}"), &[], String::new())
    }

    /// An event, signed by Zoom at this moment.
    pub fn as_zoom(&self, event: &Value) -> Request<String> {
        let (body, timestamp) = (event.to_string(), now().timestamp().to_string());
        let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
        let tag = hmac::sign(&key, format!("v0:{timestamp}:{body}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let headers = [
            ("x-zm-signature", format!("v0={hex}")),
            ("x-zm-request-timestamp", timestamp),
        ];
        request(
            "POST",
            "/",
            &headers.each_ref().map(|(name, value)| (*name, value.as_str())),
            body,
        )
    }

    /// A user's token, good for an hour.
    pub fn token(&self, user_id: Uuid) -> String {
        let issuer = format!("{}/auth/v1", self.variable("SUPABASE_URL").unwrap_or_default());
        let claims = json!({
            "sub": user_id, "aud": "authenticated", "role": "authenticated", "iss": issuer,
            "exp": now().timestamp() + 3_600,
        });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!(
            "{}.{}",
            encode(&json!({"alg": "HS256", "kid": "fakes"})),
            encode(&claims)
        );
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, JWT_SECRET), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    pub(crate) fn key_set(&self) -> Value {
        json!({"keys": [{"kty": "oct", "kid": "fakes", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(JWT_SECRET)}]})
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Request<String> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://functions.test{path}"))
        .header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).expect("a request")
}
