/**
 * What the twin's functions share: the same design as in `shared/`, as it is written today in TypeScript on
 * supabase-js, jose and WebCrypto. Measured beside ours by `cargo xtask bench`; nothing here is deployed.
 */
import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

export type Env = Record<string, string>;
export type Handler = (call: Call) => Promise<Response>;

const MAX_BODY_BYTES = 64 * 1024;

/** A refusal: its status, its code, its sentence. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly more: { fields?: Record<string, string>; retryAfter?: number } = {},
  ) {
    super(message);
  }
}

export const unauthorized = () => new Refusal(401, "unauthorized", "Sign in and try again.");
const unavailable = () =>
  new Refusal(503, "service_unavailable", "The service is busy. Try again in a moment.", { retryAfter: 5 });

/** What an isolate keeps. */
interface App {
  env: Env;
  supabase: SupabaseClient;
  keys: ReturnType<typeof createRemoteJWKSet>;
}

let app: App | undefined;

function makeApp(env: Env): App {
  const base = env.SUPABASE_URL;
  return {
    env,
    supabase: createClient(base, env.SUPABASE_SECRET_KEY, {
      auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    }),
    keys: createRemoteJWKSet(new URL(env.SUPABASE_JWKS_URL ?? `${base}/auth/v1/.well-known/jwks.json`)),
  };
}

/** One request. */
export class Call {
  readonly id = crypto.randomUUID();
  caller: Record<string, string> = { kind: "anonymous" };
  readonly waited = { auth: 0, db: 0, zoom: 0 };
  readonly zoomCalls: { call: string; status: number | null; ms: number; tracking_id: string | null }[] = [];

  constructor(
    readonly request: Request,
    readonly app: App,
  ) {}

  get env(): Env {
    return this.app.env;
  }

  async user(): Promise<string> {
    const [scheme, token] = (this.request.headers.get("authorization") ?? "").split(" ");
    if (scheme.toLowerCase() !== "bearer" || !token) throw unauthorized();
    const start = Date.now();
    try {
      const { payload } = await jwtVerify(token, this.app.keys, {
        issuer: `${this.env.SUPABASE_URL}/auth/v1`,
        audience: "authenticated",
        algorithms: ["ES256", "RS256"],
        requiredClaims: ["sub", "exp"],
      });
      if (!isUuid(payload.sub)) throw unauthorized();
      this.caller = { kind: "user", user_id: payload.sub };
      return payload.sub;
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw new Refusal(401, "token_expired", "Your sign-in has expired.");
      if (error instanceof errors.JWKSTimeout) throw unavailable();
      throw unauthorized();
    } finally {
      this.waited.auth += Date.now() - start;
    }
  }

  async body(): Promise<Uint8Array> {
    const bytes = new Uint8Array(await this.request.arrayBuffer());
    if (bytes.length > MAX_BODY_BYTES) throw new Refusal(413, "payload_too_large", "The request is too large.");
    return bytes;
  }

  async fields(): Promise<Record<string, unknown>> {
    const type = (this.request.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
    if (type !== "application/json") throw new Refusal(415, "unsupported_media_type", "Send JSON.");
    try {
      const fields = JSON.parse(new TextDecoder().decode(await this.body()));
      if (fields && typeof fields === "object" && !Array.isArray(fields)) return fields;
    } catch (error) {
      if (error instanceof Refusal) throw error;
    }
    throw new Refusal(400, "invalid_json", "The request is not JSON.");
  }

  async rpc<T>(step: string, values: Record<string, unknown>): Promise<T> {
    const start = Date.now();
    const { data, error } = await this.app.supabase
      .rpc(step, values)
      .setHeader("x-request-id", this.id)
      .abortSignal(AbortSignal.timeout(10_000));
    this.waited.db += Date.now() - start;
    if (error) {
      console.log(JSON.stringify({ event: "database_failure", request_id: this.id, step, reason: error.code }));
      throw unavailable();
    }
    return data as T;
  }

  async zoom(name: string, method: string, path: string, token: string, body: unknown): Promise<Response> {
    const start = Date.now();
    let answer: Response | undefined;
    try {
      answer = await fetch(`${this.env.ZOOM_API_URL}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(15_000),
      });
      return answer;
    } finally {
      const ms = Date.now() - start;
      this.waited.zoom += ms;
      const tracking_id = answer?.headers.get("x-zm-trackingid") ?? null;
      this.zoomCalls.push({ call: name, status: answer?.status ?? null, ms, tracking_id });
    }
  }
}

export const json = (value: unknown, status = 200) =>
  new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json" } });

function refuse(refusal: Refusal, id: string): Response {
  const { fields, retryAfter } = refusal.more;
  const answer = json({ error: refusal.message, code: refusal.code, request_id: id, fields }, refusal.status);
  if (retryAfter) answer.headers.set("retry-after", String(retryAfter));
  return answer;
}

/** Makes a server of a function's handler. */
export function serve(name: string, handler: Handler) {
  return async (request: Request, env: Env): Promise<Response> => {
    const start = Date.now();
    app ??= makeApp(env);
    const call = new Call(request, app);
    let code = "ok";
    let answer: Response;
    try {
      if (request.method === "OPTIONS") {
        answer = new Response(null, { status: 204, headers: { "access-control-allow-methods": "POST, OPTIONS" } });
      } else if (request.method !== "POST") {
        throw new Refusal(405, "method_not_allowed", "Use POST.");
      } else {
        answer = await handler(call);
      }
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal(500, "internal", "Something went wrong.");
      code = refusal.code;
      answer = refuse(refusal, call.id);
    }
    const { auth, db, zoom } = call.waited;
    console.log(
      JSON.stringify({
        event: "request", function: name, request_id: call.id, method: request.method, caller: call.caller, code,
        status: answer.status, total_ms: Date.now() - start, auth_ms: auth, db_ms: db, zoom_ms: zoom,
        zoom_calls: call.zoomCalls.length > 0 ? call.zoomCalls : undefined,
      }),
    );
    const { headers } = answer;
    headers.set("x-request-id", call.id);
    headers.set("server-timing", `auth;dur=${auth}, db;dur=${db}, zoom;dur=${zoom}`);
    headers.set("cache-control", "no-store");
    headers.set("x-content-type-options", "nosniff");
    headers.set("access-control-expose-headers", "x-request-id, server-timing, retry-after");
    headers.set("access-control-allow-origin", "*");
    return answer;
  };
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
export const isUuid = (value: unknown): value is string => typeof value === "string" && UUID.test(value);

const text = new TextEncoder();

export const hex = (bytes: ArrayBuffer) =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

export const sha256 = (value: string | Uint8Array) =>
  crypto.subtle.digest("SHA-256", typeof value === "string" ? text.encode(value) : value);

export const base64url = (bytes: Uint8Array) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const fromBase64 = (value: string) =>
  Uint8Array.from(atob(value.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));

export const randomToken = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

let sealing: Promise<Map<string, CryptoKey>> | undefined;

function sealingKeys(env: Env): Promise<Map<string, CryptoKey>> {
  sealing ??= Promise.all(
    env.TOKEN_ENCRYPTION_KEYS.split(",").map(async (entry) => {
      const [id, key] = entry.split(":");
      const usages: KeyUsage[] = ["encrypt", "decrypt"];
      return [id, await crypto.subtle.importKey("raw", fromBase64(key), "AES-GCM", false, usages)] as const;
    }),
  ).then((keys) => new Map(keys));
  return sealing;
}

/** Seals a secret for its place, as shared/src/seal.rs does. */
export async function seal(env: Env, place: string, secret: string): Promise<string> {
  const [[id, key]] = await sealingKeys(env);
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const algorithm = { name: "AES-GCM", iv, additionalData: text.encode(place) };
  const sealed = new Uint8Array(await crypto.subtle.encrypt(algorithm, key, text.encode(secret)));
  const all = new Uint8Array(iv.length + sealed.length);
  all.set(iv);
  all.set(sealed, iv.length);
  return `v1.${id}.${base64url(all)}`;
}

/** Opens what was sealed for this place. */
export async function open(env: Env, place: string, sealed: string): Promise<string> {
  const [version, id, encoded] = sealed.split(".");
  const key = (await sealingKeys(env)).get(id);
  if (version !== "v1" || !key) throw new Error("a sealed value is malformed");
  const bytes = fromBase64(encoded);
  const algorithm = { name: "AES-GCM", iv: bytes.subarray(0, 12), additionalData: text.encode(place) };
  return new TextDecoder().decode(await crypto.subtle.decrypt(algorithm, key, bytes.subarray(12)));
}
