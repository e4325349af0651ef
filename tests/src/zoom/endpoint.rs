//! Zoom's endpoints, by the names that tests and the control surface use.

use std::fmt;
use std::str::FromStr;

use anyhow::{anyhow, Error};
use serde::{Deserialize, Serialize};

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `GET` and `POST /oauth/authorize`: the consent page.
    Authorize,
    /// `POST /oauth/token`, of either [`Grant`].
    Token,
    /// `POST /oauth/revoke`
    Revoke,
    /// `GET /v2/users/me`
    UsersMe,
    /// `POST /v2/users/me/meetings`
    CreateMeeting,
    /// `GET /v2/users/me/meetings`
    ListMeetings,
    /// `GET /v2/meetings/{id}`
    GetMeeting,
    /// `PATCH /v2/meetings/{id}`
    UpdateMeeting,
    /// `DELETE /v2/meetings/{id}`
    DeleteMeeting,
    /// `PUT /v2/meetings/{id}/status`: ends a meeting that goes on.
    EndMeeting,
    /// Anything else below `/oauth` and `/v2`.
    Unknown,
}

/// What a request to the token endpoint spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// A code from the consent page.
    AuthorizationCode,
    /// A refresh token.
    RefreshToken,
}

impl Endpoint {
    const ALL: [Self; 11] = [
        Self::Authorize,
        Self::Token,
        Self::Revoke,
        Self::UsersMe,
        Self::CreateMeeting,
        Self::ListMeetings,
        Self::GetMeeting,
        Self::UpdateMeeting,
        Self::DeleteMeeting,
        Self::EndMeeting,
        Self::Unknown,
    ];

    /// Its name, in snake case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Token => "token",
            Self::Revoke => "revoke",
            Self::UsersMe => "users_me",
            Self::CreateMeeting => "create_meeting",
            Self::ListMeetings => "list_meetings",
            Self::GetMeeting => "get_meeting",
            Self::UpdateMeeting => "update_meeting",
            Self::DeleteMeeting => "delete_meeting",
            Self::EndMeeting => "end_meeting",
            Self::Unknown => "unknown",
        }
    }

    /// The endpoint that a request goes to, with the meeting that its path names.
    pub(crate) fn of<'p>(method: &str, path: &'p str) -> (Self, Option<&'p str>) {
        let endpoint = match (method, path) {
            ("GET" | "POST", "/oauth/authorize") => Self::Authorize,
            ("POST", "/oauth/token") => Self::Token,
            ("POST", "/oauth/revoke") => Self::Revoke,
            ("GET", "/v2/users/me") => Self::UsersMe,
            ("POST", "/v2/users/me/meetings") => Self::CreateMeeting,
            ("GET", "/v2/users/me/meetings") => Self::ListMeetings,
            _ => {
                let meeting = path.strip_prefix("/v2/meetings/");
                let ended = meeting
                    .and_then(|path| path.strip_suffix("/status"))
                    .filter(|_| method == "PUT");
                let meeting = ended.or(meeting).filter(|id| !id.contains('/'));
                let endpoint = match (method, meeting) {
                    ("PUT", Some(_)) if ended.is_some() => Self::EndMeeting,
                    ("GET", Some(_)) => Self::GetMeeting,
                    ("PATCH", Some(_)) => Self::UpdateMeeting,
                    ("DELETE", Some(_)) => Self::DeleteMeeting,
                    _ => return (Self::Unknown, None),
                };
                return (endpoint, meeting);
            }
        };
        (endpoint, None)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq<&str> for Endpoint {
    fn eq(&self, name: &&str) -> bool {
        self.name() == *name
    }
}

/// The calls that a fault is for: those of one endpoint, of one kind of token request, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    endpoint: Option<Endpoint>,
    grant: Option<Grant>,
}

impl Target {
    /// Every call to Zoom; by name `any`.
    pub const ANY: Self = Self {
        endpoint: None,
        grant: None,
    };
    /// Token requests with a code; by name `token_exchange`.
    pub const TOKEN_EXCHANGE: Self = Self::token(Grant::AuthorizationCode);
    /// Token requests with a refresh token; by name `token_refresh`.
    pub const TOKEN_REFRESH: Self = Self::token(Grant::RefreshToken);

    const fn token(grant: Grant) -> Self {
        Self {
            endpoint: Some(Endpoint::Token),
            grant: Some(grant),
        }
    }

    /// Whether a call is one of those.
    pub fn includes(self, endpoint: Endpoint, grant: Option<Grant>) -> bool {
        self.endpoint.is_none_or(|wanted| wanted == endpoint) && (self.grant.is_none() || self.grant == grant)
    }
}

impl From<Endpoint> for Target {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            endpoint: Some(endpoint),
            grant: None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.endpoint, self.grant) {
            (None, _) => "any",
            (Some(_), Some(Grant::AuthorizationCode)) => "token_exchange",
            (Some(_), Some(Grant::RefreshToken)) => "token_refresh",
            (Some(endpoint), None) => endpoint.name(),
        })
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let named = |endpoint: &&Endpoint| endpoint.name() == name;
        match name {
            "any" => Ok(Self::ANY),
            "token_exchange" => Ok(Self::TOKEN_EXCHANGE),
            "token_refresh" => Ok(Self::TOKEN_REFRESH),
            _ => Endpoint::ALL
                .iter()
                .find(named)
                .map(|endpoint| (*endpoint).into())
                .ok_or_else(|| {
                    let names = Endpoint::ALL.map(Endpoint::name).join(", ");
                    anyhow!("{name:?} is no endpoint: there are any, token_exchange, token_refresh, {names}")
                }),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_find_their_endpoint() {
        let of = |method, path| Endpoint::of(method, path).0.name();
        assert_eq!(of("POST", "/oauth/token"), "token");
        assert_eq!(of("GET", "/oauth/token"), "unknown");
        assert_eq!(of("GET", "/v2/users/me/meetings"), "list_meetings");
        assert_eq!(of("GET", "/v2/meetings/1/recordings"), "unknown");
        assert_eq!(of("PUT", "/v2/meetings/1"), "unknown");
        assert_eq!(of("GET", "/v2/meetings/1/status"), "unknown");
        assert_eq!(
            Endpoint::of("PUT", "/v2/meetings/1/status"),
            (Endpoint::EndMeeting, Some("1"))
        );
        assert_eq!(
            Endpoint::of("PATCH", "/v2/meetings/77"),
            (Endpoint::UpdateMeeting, Some("77"))
        );
    }

    #[test]
    fn names_and_targets_go_both_ways() {
        for name in Endpoint::ALL
            .map(Endpoint::name)
            .into_iter()
            .chain(["any", "token_exchange", "token_refresh"])
        {
            assert_eq!(name.parse::<Target>().unwrap().to_string(), name);
        }
        assert!("tokens".parse::<Target>().is_err());
        let refresh = (Endpoint::Token, Some(Grant::RefreshToken));
        assert!(Target::TOKEN_REFRESH.includes(refresh.0, refresh.1));
        assert!(
            Target::from(Endpoint::Token).includes(refresh.0, refresh.1) && Target::ANY.includes(refresh.0, refresh.1)
        );
        assert!(!Target::TOKEN_EXCHANGE.includes(refresh.0, refresh.1));
        assert!(!Target::TOKEN_REFRESH.includes(Endpoint::Token, None));
    }
}
