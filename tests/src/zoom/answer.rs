//! An HTTP answer as the simulator gives it, or as a test puts it in Zoom's mouth.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

/// An answer: status, headers and body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Text is sent as it is, null is no body, everything else is sent as JSON.
    #[serde(default)]
    pub body: Value,
}

impl Answer {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: BTreeMap::new(),
            body: Value::Null,
        }
    }

    /// A JSON answer.
    pub fn json(status: u16, body: Value) -> Self {
        Self {
            body,
            ..Self::empty(status)
        }
    }

    /// An answer of some other type, byte for byte.
    pub fn text(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        Self {
            body: Value::String(body.into()),
            ..Self::empty(status)
        }
        .with_header("content-type", content_type)
    }

    /// An error as Zoom's API words it.
    pub fn api_error(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self::json(status, json!({"code": code, "message": message.into()}))
    }

    /// An error as Zoom's token endpoint words it.
    pub fn oauth_error(status: u16, error: &str, reason: &str) -> Self {
        Self::json(status, json!({"reason": reason, "error": error}))
    }

    /// The HTML of a proxy that found nobody behind it.
    pub fn bad_gateway() -> Self {
        let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
                    <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";
        Self::text(502, "text/html", page)
    }

    /// Adds a header, or replaces the one of this name.
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_ascii_lowercase(), value.into());
        self
    }

    /// The body's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match &self.body {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            json => json.to_string().into_bytes(),
        }
    }

    /// The header `content-type`, unless one was named.
    pub(crate) fn default_content_type(&self) -> Option<&'static str> {
        match &self.body {
            Value::Null => None,
            Value::String(_) => Some("text/plain;charset=UTF-8"),
            _ => Some("application/json;charset=UTF-8"),
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.status < 400
    }
}
