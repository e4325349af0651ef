//! A request to Zoom, read whole.

use axum::body::Bytes;
use axum::http::{header, HeaderMap, HeaderName};

use super::endpoint::{Endpoint, Grant};

/// Parameters in the order in which they stand.
pub(crate) type Parameters = Vec<(String, String)>;

/// A request to Zoom.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Without the question mark.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    /// A header's text, if it has one.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn query_parameters(&self) -> Parameters {
        form_urlencoded::parse(self.query.as_bytes()).into_owned().collect()
    }

    /// The fields of a form, if that is what the body is.
    pub(crate) fn form(&self) -> Option<Parameters> {
        self.is("application/x-www-form-urlencoded")
            .then(|| form_urlencoded::parse(&self.body).into_owned().collect())
    }

    /// The JSON of the body, if that is what it is.
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        self.is("application/json")
            .then(|| serde_json::from_slice(&self.body).ok())?
    }

    /// The token or code that it presents.
    pub(crate) fn credential(&self) -> Option<String> {
        let bearer = self
            .header(header::AUTHORIZATION)
            .and_then(|value| value.strip_prefix("Bearer "));
        let in_form = || {
            let form = self.form()?;
            let names = ["refresh_token", "code", "token"];
            Some(names.iter().find_map(|name| one(&form, name))?.to_owned())
        };
        bearer.map(str::to_owned).or_else(in_form)
    }

    fn is(&self, media_type: &str) -> bool {
        let found = self
            .header(header::CONTENT_TYPE)
            .and_then(|value| value.split(';').next());
        found.is_some_and(|found| found.trim().eq_ignore_ascii_case(media_type))
    }

    /// What a request to the token endpoint means to spend.
    pub(crate) fn grant(&self, endpoint: Endpoint) -> Option<Grant> {
        if endpoint != Endpoint::Token {
            return None;
        }
        match one(&self.form()?, "grant_type")? {
            "authorization_code" => Some(Grant::AuthorizationCode),
            "refresh_token" => Some(Grant::RefreshToken),
            _ => None,
        }
    }
}

/// The value of a parameter that stands there exactly once.
pub(crate) fn one<'p>(parameters: &'p Parameters, name: &str) -> Option<&'p str> {
    let mut values = parameters.iter().filter(|(found, _)| found == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

/// The first parameter whose name is not among these.
pub(crate) fn stranger<'p>(parameters: &'p Parameters, known: &[&str]) -> Option<&'p str> {
    let mut names = parameters.iter().map(|(name, _)| name.as_str());
    names.find(|name| !known.contains(name))
}
