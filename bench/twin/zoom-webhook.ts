/** The twin of functions/zoom-webhook. */
import { type Call, type Env, hex, json, Refusal, serve, sha256, unauthorized } from "./common.ts";

const MAX_AGE_MS = 2 * 3_600_000;
const TOLERANCE_MS = 5 * 60_000;

let signing: Promise<CryptoKey> | undefined;

function signingKey(env: Env): Promise<CryptoKey> {
  const secret = new TextEncoder().encode(env.ZOOM_WEBHOOK_SECRET_TOKEN);
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  signing ??= crypto.subtle.importKey("raw", secret, algorithm, false, ["sign", "verify"]);
  return signing;
}

async function check(call: Call, body: Uint8Array): Promise<void> {
  const timestamp = call.request.headers.get("x-zm-request-timestamp");
  const signature = call.request.headers.get("x-zm-signature");
  if (!timestamp || !signature || !/^v0=[0-9a-f]{64}$/.test(signature)) throw unauthorized();
  const prefix = new TextEncoder().encode(`v0:${timestamp}:`);
  const message = new Uint8Array(prefix.length + body.length);
  message.set(prefix);
  message.set(body, prefix.length);
  const given = Uint8Array.from(signature.slice(3).match(/../g)!, (pair) => parseInt(pair, 16));
  if (!(await crypto.subtle.verify("HMAC", await signingKey(call.env), given, message))) throw unauthorized();
  const age = Date.now() - Number(timestamp) * 1_000;
  if (!(age <= MAX_AGE_MS && age >= -TOLERANCE_MS)) throw unauthorized();
}

interface Zoomed {
  event: string;
  event_ts?: number;
  payload?: { plainToken?: string; object?: Record<string, unknown> };
}

const MEETING_EVENTS = ["meeting.started", "meeting.ended", "meeting.updated", "meeting.deleted"];

async function handle(call: Call): Promise<Response> {
  const body = await call.body();
  await check(call, body);
  call.caller = { kind: "zoom" };
  let zoomed: Zoomed;
  try {
    zoomed = JSON.parse(new TextDecoder().decode(body));
  } catch {
    throw new Refusal(400, "invalid_json", "The request is not JSON.");
  }
  if (zoomed.event === "endpoint.url_validation") {
    const plainToken = zoomed.payload?.plainToken ?? "";
    const key = await signingKey(call.env);
    const encryptedToken = hex(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(plainToken)));
    return json({ plainToken, encryptedToken });
  }
  if (!MEETING_EVENTS.includes(zoomed.event)) return json({ outcome: "ignored" });
  const meeting = zoomed.payload?.object;
  if (!meeting || !/^\d{1,20}$/.test(String(meeting.id))) throw new Refusal(400, "invalid_json", "No meeting.");
  const outcome = await call.rpc<string | { outcome: string }>("edge_webhook_receive", {
    event_id: hex(await sha256(body)),
    event: zoomed.event,
    event_ts: zoomed.event_ts ?? 0,
    details: {
      meeting_id: String(meeting.id), topic: meeting.topic, start_time: meeting.start_time, end_time: meeting.end_time,
      duration: meeting.duration, timezone: meeting.timezone,
    },
  });
  return json({ outcome: typeof outcome === "string" ? outcome : outcome.outcome });
}

export default serve("zoom-webhook", handle);
