//! The permissions that an app can be granted, and which one an endpoint asks for.

use super::endpoint::Endpoint;

/// What a user grants unless a test says otherwise: everything that the project needs, by the names of new apps.
pub const GRANULAR: [&str; 6] = [
    "meeting:write:meeting",
    "meeting:update:meeting",
    "meeting:delete:meeting",
    "meeting:read:meeting",
    "meeting:read:list_meetings",
    "user:read:user",
];

/// Ends meetings that go on: the app works without it, less well. Users grant it, too, unless a test says otherwise.
pub const GRANULAR_END: &str = "meeting:update:status";

/// The same by the names of older apps, ending included.
pub const CLASSIC: [&str; 3] = ["meeting:write", "meeting:read", "user:read"];

/// The granular and the classic scope either of which an endpoint asks for.
pub(crate) fn needed(endpoint: Endpoint) -> Option<[&'static str; 2]> {
    Some(match endpoint {
        Endpoint::CreateMeeting => ["meeting:write:meeting", "meeting:write"],
        Endpoint::UpdateMeeting => ["meeting:update:meeting", "meeting:write"],
        Endpoint::EndMeeting => [GRANULAR_END, "meeting:write"],
        Endpoint::DeleteMeeting => ["meeting:delete:meeting", "meeting:write"],
        Endpoint::GetMeeting => ["meeting:read:meeting", "meeting:read"],
        Endpoint::ListMeetings => ["meeting:read:list_meetings", "meeting:read"],
        Endpoint::UsersMe => ["user:read:user", "user:read"],
        Endpoint::Authorize | Endpoint::Token | Endpoint::Revoke | Endpoint::Unknown => return None,
    })
}
