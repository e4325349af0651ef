/** The twin of functions/create-session. */
import { type Call, hex, isUuid, json, open, Refusal, serve, sha256 } from "./common.ts";

interface NewSession {
  title: string;
  description: string;
  scheduled_start: string;
  timezone: string;
  duration_minutes: number;
  max_participants: number;
  participant_ids: string[];
  provider: "zoom" | "external";
  join_url: string | null;
}

type Begun =
  | { outcome: "create"; creation_id: string; token: { state: string; access_token: string } }
  | { outcome: "created"; session: Record<string, unknown> }
  | { outcome: "not_a_host" | "zoom_not_connected" | "zoom_expired" | "deleted" | "key_reused" }
  | { outcome: "invalid"; fields: Record<string, string> }
  | { outcome: "running" | "cooling_down"; retry_after_seconds: number };

const CONTROL = /\p{Cc}/u;
const CONTROL_BUT_LINES = /[^\P{Cc}\n\r\t]/u;
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i;

/** Everything that is wrong with a request is told at once, and nothing that nobody asked for is taken. */
function parse(given: Record<string, unknown>, key: string | null): NewSession {
  const fields: Record<string, string> = {};
  const rest = { ...given };
  function take<T>(name: string, required: boolean, read: (value: unknown) => T): T | undefined {
    const value = rest[name];
    delete rest[name];
    if (value === undefined || value === null) {
      if (required) fields[name] = "is required";
      return undefined;
    }
    try {
      return read(value);
    } catch (error) {
      fields[name] = (error as Error).message;
      return undefined;
    }
  }
  const line = (min: number, max: number, refused: RegExp) => (value: unknown) => {
    if (typeof value !== "string") throw new Error("must be text");
    const trimmed = value.trim();
    if (refused.test(trimmed)) throw new Error("must not contain control characters");
    const length = [...trimmed].length;
    if (length < min) throw new Error("must not be empty");
    if (length > max) throw new Error(`must have at most ${max} characters, and has ${length}`);
    return trimmed;
  };
  const tolerance = key === null ? 5 * 60_000 : 30 * 86_400_000;
  const start = (value: unknown) => {
    const millis = typeof value === "string" && INSTANT.test(value) ? Date.parse(value) : NaN;
    if (Number.isNaN(millis)) throw new Error("must be a time with an offset, such as 2026-03-01T17:00:00Z");
    if (Date.now() - millis > tolerance) throw new Error("must not be in the past");
    if (millis - Date.now() > 5 * 365 * 86_400_000) throw new Error("must not be more than five years ahead");
    return new Date(millis).toISOString().replace(/\.\d+Z$/, "Z");
  };
  const oneOf = <T>(values: T[], what: string) => (value: unknown) => {
    if (!values.includes(value as T)) throw new Error(what);
    return value as T;
  };
  const people = (value: unknown) => {
    if (!Array.isArray(value) || !value.every(isUuid)) throw new Error("must be a list of UUIDs");
    return [...new Set(value)].sort();
  };
  const link = (value: unknown) => {
    if (typeof value !== "string" || !URL.canParse(value) || new URL(value).protocol !== "https:") {
      throw new Error("must be an https link");
    }
    return value;
  };

  const title = take("title", true, line(1, 200, CONTROL));
  const description = take("description", false, line(0, 2_000, CONTROL_BUT_LINES));
  const scheduled_start = take("scheduled_start", true, start);
  const timezone = take("timezone", false, line(1, 64, CONTROL));
  const duration_minutes = take("duration_minutes", true, oneOf([30, 45, 60], "must be 30, 45 or 60"));
  const max_participants = take("max_participants", true, oneOf([2, 3, 4, 5], "must be 2 to 5, the host included"));
  const participant_ids = take("participant_ids", false, people) ?? [];
  const providers: NewSession["provider"][] = ["zoom", "external"];
  const provider = take("provider", false, oneOf(providers, "must be zoom or external")) ?? "zoom";
  const join_url = take("join_url", provider === "external", link) ?? null;
  if (max_participants !== undefined && participant_ids.length + 1 > max_participants) {
    fields.participant_ids = "are more people than max_participants allows, the host included";
  }
  for (const name of Object.keys(rest)) fields[name.slice(0, 40)] = "is not a field of this request";
  if (Object.keys(fields).length > 0) {
    throw new Refusal(400, "invalid_request", "Some fields are not right.", { fields });
  }
  return {
    title: title!, description: description ?? "", scheduled_start: scheduled_start!, timezone: timezone ?? "UTC",
    duration_minutes: duration_minutes!, max_participants: max_participants!, participant_ids, provider, join_url,
  };
}

async function handle(call: Call): Promise<Response> {
  const host = await call.user();
  const key = call.request.headers.get("idempotency-key");
  const session = parse(await call.fields(), key);
  const begun = await call.rpc<Begun>("edge_session_begin", {
    user_id: host, holder: call.id, idempotency_key: key,
    request_hash: hex(await sha256(JSON.stringify(session))), session,
  });
  switch (begun.outcome) {
    case "create":
      return json(withInviteUrl(call, await create(call, host, begun.creation_id, begun.token, session)));
    case "created":
      return json(withInviteUrl(call, begun.session));
    case "invalid":
      throw new Refusal(400, "invalid_request", "Some fields are not right.", { fields: begun.fields });
    case "running":
    case "cooling_down":
      throw new Refusal(503, begun.outcome, "Try again in a moment.", { retryAfter: begun.retry_after_seconds });
    default:
      throw new Refusal(403, begun.outcome, "This is not possible now.");
  }
}

async function create(
  call: Call, host: string, creationId: string, token: { state: string; access_token: string }, session: NewSession,
): Promise<Record<string, unknown>> {
  if (token.state !== "fresh") throw new Refusal(503, "zoom_unavailable", "Try again.", { retryAfter: 30 });
  const accessToken = await open(call.env, `user_integrations_zoom/${host}/access_token`, token.access_token);
  const answer = await call.zoom("create_meeting", "POST", "/users/me/meetings", accessToken, {
    topic: session.title.slice(0, 200),
    type: 2,
    start_time: session.scheduled_start,
    duration: session.duration_minutes,
    timezone: session.timezone,
    agenda: `${creationId}\n${session.description}`.trimEnd().slice(0, 2_000),
    settings: { waiting_room: true, join_before_host: false, mute_upon_entry: true, approval_type: 2 },
  });
  if (!answer.ok) throw new Refusal(502, "zoom_rejected", "Zoom did not take the session.");
  const meeting = (await answer.json()) as { id: number; join_url: string; start_url: string; password?: string };
  const completed = await call.rpc<{ outcome: string; session: Record<string, unknown> }>("edge_session_complete", {
    creation_id: creationId,
    user_id: host,
    meeting: {
      id: String(meeting.id), join_url: meeting.join_url, passcode: meeting.password ?? null,
      start_url: meeting.start_url,
    },
  });
  if (completed.outcome !== "created") throw new Refusal(503, "zoom_unavailable", "Try again.", { retryAfter: 60 });
  return completed.session;
}

function withInviteUrl(call: Call, session: Record<string, unknown>): Record<string, unknown> {
  if (!call.env.APP_INVITE_URI || typeof session.share_code !== "string") return session;
  const url = new URL(call.env.APP_INVITE_URI);
  url.searchParams.append("share_code", session.share_code);
  return { ...session, invite_url: url.href };
}

export default serve("create-session", handle);
