//! The simulator's pages: plain HTML that works without JavaScript.

use super::answer::Answer;
use super::meetings::{Meeting, MeetingStatus, ZoomMeeting};
use super::users::{AppAccess, Licence, User};

/// How wide a page's text runs.
#[derive(Clone, Copy)]
enum Width {
    Narrow,
    Wide,
}

fn page(status: u16, title: &str, width: Width, main: &str) -> Answer {
    let width = match width {
        Width::Narrow => "36rem",
        Width::Wide => "72rem",
    };
    let html = include_str!("page.html")
        .replace("{title}", &escape(title))
        .replace("{width}", width)
        .replace("{main}", main);
    Answer::text(status, "text/html;charset=UTF-8", html)
        .with_header("cache-control", "no-store")
        .with_header("x-content-type-options", "nosniff")
        .with_header("referrer-policy", "same-origin")
        // No `form-action`: browsers would apply it to where the consent page's answer leads.
        .with_header(
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
        )
}

/// Text that is safe in an element and in a quoted attribute.
fn escape(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // A name in braces would be filled in.
            '{' => safe.push_str("&#123;"),
            _ => safe.push(c),
        }
    }
    safe
}

/// A page that says something.
pub(crate) fn message(status: u16, title: &str, text: &str) -> Answer {
    let main = format!("<h1>{}</h1>\n<p>{}</p>", escape(title), escape(text));
    page(status, title, Width::Narrow, &main)
}

/// A page that says what is wrong with a request to the consent page.
pub(crate) fn problem(text: &str) -> Answer {
    message(400, "This app cannot be added", text)
}

/// The consent page, for one of these users.
pub(crate) fn consent(users: &[&User]) -> Answer {
    let choice = |(at, user): (usize, &&User)| {
        format!(
            "<label><input type=\"radio\" name=\"email\" value=\"{email}\"{checked}> \
             <span>{name}<br><span class=\"quiet\">{email}{remark}</span></span></label>\n",
            email = escape(&user.email),
            name = escape(&user.name()),
            checked = if at == 0 { " checked" } else { "" },
            remark = remark(user),
        )
    };
    let choices: String = users.iter().enumerate().map(choice).collect();
    let main = format!(
        "<h1>Video Sessions would like to use your Zoom account</h1>\n\
         <p>It will be able to:</p>\n\
         <ul><li>create, change and delete your meetings</li><li>see your meetings, and start them for you</li>\
         <li>see your name and email address</li></ul>\n\
         <form method=\"post\">\n<fieldset><legend>Continue as</legend>\n{choices}</fieldset>\n\
         <button name=\"decision\" value=\"allow\">Allow</button>\n\
         <button class=\"second\" name=\"decision\" value=\"deny\">Deny</button>\n</form>"
    );
    page(200, "Add Video Sessions", Width::Narrow, &main)
}

/// What is special about a user.
fn remark(user: &User) -> String {
    let mut remarks = String::new();
    if user.licence == Licence::Basic {
        remarks += ", basic account";
    }
    if !user.may_host {
        remarks += ", may not host";
    }
    match user.app {
        AppAccess::Allowed => {}
        AppAccess::Disabled => remarks += ", app disabled",
        AppAccess::NeedsApproval => remarks += ", app needs approval",
    }
    remarks
}

/// What a participant finds behind a meeting's link, or the host behind the start URL.
pub(crate) fn meeting(meeting: &Meeting, visitor: Visitor) -> Answer {
    let state = match meeting.status() {
        MeetingStatus::Started => "The meeting goes on.",
        MeetingStatus::Waiting | MeetingStatus::Deleted => "The meeting has not started.",
    };
    let (who, controls) = match visitor {
        Visitor::Participant => ("You are in the waiting room.", String::new()),
        Visitor::Host => ("You are the host.", controls(&meeting.id.to_string(), meeting.status())),
    };
    let main = format!(
        "<h1>{}</h1>\n<p>This is where Zoom would open. {who} {state}</p>\n{controls}",
        escape(&meeting.topic)
    );
    page(200, &meeting.topic, Width::Narrow, &main)
}

/// Who opened a meeting's link.
#[derive(Clone, Copy)]
pub(crate) enum Visitor {
    Participant,
    Host,
}

/// The buttons for what a host can do with a meeting.
fn controls(id: &str, status: MeetingStatus) -> String {
    let button = |action: &str, name: &str| {
        format!(
            "<form class=\"inline\" method=\"post\" action=\"/simulator/meetings/{id}/{action}\">\
             <button class=\"second small\">{name}</button></form> "
        )
    };
    match status {
        MeetingStatus::Waiting => button("start", "Start") + &button("delete", "Delete"),
        MeetingStatus::Started => button("end", "End"),
        MeetingStatus::Deleted => String::new(),
    }
}

/// What the control surface offers: method and path, what it takes, what it does.
const CONTROLS: [[&str; 3]; 28] = [
    ["GET /simulator/state", "", "users, tokens (without secrets), meetings, faults, undelivered events, rules"],
    ["GET /simulator/users", "", "the users"],
    ["POST /simulator/users", "{\"email\", \"account_id\"?, \"type\"?: 1|2, \"may_host\"?, \"timezone\"?, \"locked_settings\"?}", "makes a user"],
    ["PATCH /simulator/users/EMAIL", "{\"scopes\"?: [\"meeting:read\", …], \"app\"?: \"allowed\"|\"disabled\"|\"needs_approval\", \"may_host\"?: false, \"hides_email\"?: true}", "changes what a user grants, what the administrator allows, whether they may host, and whether the API tells their address"],
    ["DELETE /simulator/users/EMAIL", "", "deletes a user from Zoom, meetings and all"],
    ["POST /simulator/users/EMAIL/deauthorize", "", "the user removes the app in Zoom; makes an event"],
    ["POST /simulator/users/EMAIL/expire", "{\"kind\"?: \"access\"|\"refresh\"}", "lets the user's live tokens run out"],
    ["POST /simulator/users/EMAIL/revoke", "", "revokes the user's live tokens, without an event"],
    ["POST /simulator/tokens/ID/expire", "", "lets one token run out; the state shows the ids: t7"],
    ["POST /simulator/tokens/ID/revoke", "", "revokes one token"],
    ["GET /simulator/meetings", "", "every meeting that ever was"],
    ["POST /simulator/meetings", "{\"host\": EMAIL, \"topic\", \"type\": 2, \"start_time\", \"duration\", …}", "a host schedules a meeting in Zoom itself"],
    ["PATCH /simulator/meetings/ID", "{\"topic\"?, \"start_time\"?, …}", "the host edits a meeting in Zoom; makes an event"],
    ["POST /simulator/meetings/ID/start, /end, /delete, /recover, /purge, /delete-occurrence", "", "the host does so in Zoom; makes an event"],
    ["POST /simulator/meetings/ID/host-leaves, /guest-joins, /guest-leaves", "", "who is in a meeting that goes on; it ends when the last one leaves"],
    ["GET, DELETE /simulator/calls", "", "the record of calls; forgets it"],
    ["GET /simulator/faults", "", "the faults that were ordered, and how often each has happened"],
    ["POST /simulator/faults", "{\"endpoint\": NAME, \"user\"?: EMAIL, \"effect\"?: {\"answer\": {\"status\", \"headers\"?, \"body\"?}}|\"drop\"|{\"truncate\": \"broken\"|\"fitting\"}|\"hang\", \"moment\"?: \"before\"|\"after\", \"delay_ms\"?, \"times\"?: 1|null, \"skip\"?: 0, \"often\"?: \"always\"|{\"every\": 3}|{\"share\": {\"share\": 0.3, \"seed\": 7}}}", "orders a fault, before or after Zoom has acted"],
    ["POST /simulator/faults/ID/release", "", "lets the calls that hang go on"],
    ["DELETE /simulator/faults/ID, /simulator/faults", "", "withdraws one fault, or all"],
    ["POST /simulator/clock", "{\"advance_seconds\": 3600}", "puts the clock forward: everything that has happened is longer ago"],
    ["GET, PATCH /simulator/rules", "{\"webhooks\"?: \"held\"|\"sent\", \"daily_limit\"?: 100|null, \"per_second_limits\"?: {\"light\": 4, \"medium\": 2}, \"retry_after\"?: \"named\"|\"missing\", …}", "the rules that the simulator plays by; the answer shows all"],
    ["GET /simulator/webhooks", "", "events that wait, events whose delivery failed, and a report of each delivery"],
    ["POST /simulator/webhooks/deliver", "{\"only\"?: [EVENT_ID, …], \"copies\"?: 1, \"shuffle\"?: SEED, \"spoiled_share\"?: 0, \"at_once\"?: 1}", "delivers the events that wait: each so often, shuffled, among forged and stale ones"],
    ["POST /simulator/webhooks/retry", "", "delivers again what failed"],
    ["POST /simulator/webhooks/discard", "", "forgets the events that wait"],
    ["POST /simulator/webhooks/send", "{\"body\": {…}, \"signature\"?: \"genuine\"|\"forged\"|\"missing\"|{\"stale\": SECONDS}}", "delivers a body of your own"],
    ["POST /simulator/webhooks/validate", "", "checks the endpoint, as Zoom does every 72 hours"],
];

/// The front page: who is there, what there is, and how to play with it.
pub(crate) fn index(users: &[&User], meetings: &[ZoomMeeting]) -> Answer {
    let user = |user: &&User| {
        format!(
            "<tr><td>{}</td><td>{}{}</td></tr>\n",
            escape(&user.email),
            escape(&user.name()),
            remark(user)
        )
    };
    let meeting = |meeting: &ZoomMeeting| {
        let status = match meeting.status {
            MeetingStatus::Waiting => "waiting",
            MeetingStatus::Started => "started",
            MeetingStatus::Deleted => "deleted",
        };
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}, {} min</td><td>{status}</td><td>{}</td></tr>\n",
            meeting.id,
            escape(&meeting.topic),
            escape(&meeting.host),
            meeting.start_time.format("%Y-%m-%d %H:%M UTC"),
            meeting.duration,
            controls(&meeting.id, meeting.status)
        )
    };
    let control = |[path, takes, does]: &[&str; 3]| {
        let (path, takes) = (escape(path), escape(takes));
        let takes = if takes.is_empty() {
            takes
        } else {
            format!("<br><code class=\"quiet\">{takes}</code>")
        };
        format!(
            "<tr><td><code>{path}</code>{takes}</td><td>{}</td></tr>\n",
            escape(does)
        )
    };
    let meetings = match meetings {
        [] => "<p>There are none yet.</p>".to_owned(),
        some => table(
            &["Number", "Topic", "Host", "Start", "Status", "As the host"],
            some.iter().rev().map(meeting).collect(),
        ),
    };
    let main = format!(
        "<h1>Zoom simulator</h1>\n\
         <p>Stands in for Zoom: the consent page under <code>/oauth</code>, the API under <code>/v2</code>, and events to the \
         app's webhook. Stricter than Zoom, never kinder.</p>\n\
         <h2>Users</h2>\n{users}\n<h2>Meetings</h2>\n{meetings}\n\
         <h2>Control</h2>\n<p>JSON in, JSON out. Endpoints are named <code>authorize</code>, <code>token</code>, \
         <code>token_exchange</code>, <code>token_refresh</code>, <code>revoke</code>, <code>users_me</code>, \
         <code>create_meeting</code>, <code>list_meetings</code>, <code>get_meeting</code>, <code>update_meeting</code>, \
         <code>delete_meeting</code> and <code>any</code>.</p>\n{controls}",
        users = table(&["Email address", "Name"], users.iter().map(user).collect()),
        controls = table(&["Request", "Does"], CONTROLS.iter().map(control).collect()),
    );
    page(200, "Users, meetings, control", Width::Wide, &main)
}

fn table(heads: &[&str], rows: String) -> String {
    let heads: String = heads
        .iter()
        .map(|head| format!("<th scope=\"col\">{head}</th>"))
        .collect();
    format!("<div class=\"wide\"><table><thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table></div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_page_unescaped() {
        let shown = problem("<script>alert('x')</script> & \"more\"");
        let html = shown.body.as_str().unwrap();
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;more&quot;"));
    }
}
