/**
 * `video-sessions doctor`: asks a deployed installation how it is, and says line by line what is fine, what is wrong,
 * and what to do. Prints no key and no token.
 */
import { createHmac, randomBytes } from "node:crypto";
import fs from "node:fs";

export const FUNCTIONS = [
  "create-session", "join-session", "refresh-token", "start-session", "zoom-disconnect", "zoom-oauth-callback",
  "zoom-oauth-start", "zoom-sync",
  "zoom-webhook",
];
const DEADLINE_MS = 20_000;

const { version } = JSON.parse(fs.readFileSync(new URL("package.json", import.meta.url), "utf8"));

export async function doctor({ functionsUrl, secretKey, webhookToken, userToken, print = console.log }) {
  if (!functionsUrl) {
    throw new Error("say where the functions are: --functions-url https://<project-ref>.supabase.co/functions/v1");
  }
  if (!secretKey) throw new Error("a secret key of the project is missing: --secret-key, or SUPABASE_SECRET_KEY");
  const base = functionsUrl.replace(/\/+$/, "");
  let fine = true;
  const say = (good, line) => {
    fine &&= good;
    print(`${good ? "ok   " : "WRONG"} ${line}`);
  };

  /** Status and JSON of an answer; status 0 where nobody answers. */
  async function ask(path, options = {}) {
    try {
      const signal = AbortSignal.timeout(DEADLINE_MS);
      const answer = await fetch(`${base}/${path}`, { signal, redirect: "manual", ...options });
      const text = await answer.text();
      let json = {};
      try {
        json = JSON.parse(text) ?? {};
      } catch {
        // Whatever stands there instead of a function: the status tells.
      }
      return { status: answer.status, json };
    } catch {
      return { status: 0, json: {} };
    }
  }
  const check = (name, what, headers = {}) =>
    ask(`${name}?check=${what}`, { headers: { apikey: secretKey, ...headers } });

  const answers = new Map();
  for (const name of FUNCTIONS) answers.set(name, await check(name, "configuration"));
  const statuses = [...answers.values()].map(({ status }) => status);
  if (statuses.every((status) => status === 0)) {
    say(false, `Functions: nobody answers at ${base}. Look at the address, and whether the functions are deployed.`);
    return false;
  }
  if (statuses.every((status) => status === 401)) {
    say(false, "Secret key: the functions refuse it. Take one from Project Settings > API Keys > Secret keys.");
    return false;
  }

  const versions = new Set();
  for (const [name, { status, json }] of answers) {
    if (status === 200 && json.function === name) {
      versions.add(json.version);
      for (const { name: variable, problem } of json.problems) {
        say(false, `${name}: ${variable} ${problem}. Set it with \`supabase secrets set\`.`);
      }
      if (json.problems.length === 0) say(true, `${name}: ${json.version}, configured`);
    } else if (status === 401) {
      say(false, `${name}: refuses the secret key that others take. Deploy it again, with verify_jwt = false.`);
    } else if (status === 404) {
      say(false, `${name}: is not there. Run \`supabase functions deploy ${name}\`.`);
    } else if (status === 500) {
      say(false, `${name}: has no secret key of the project. Set SUPABASE_SECRET_KEY, or SUPABASE_SECRET_KEYS.`);
    } else {
      say(false, `${name}: answers ${status || "nothing"} in place of its state. Deploy this release of it.`);
    }
  }
  const works = (name) => answers.get(name).status === 200 && answers.get(name).json.problems?.length === 0;
  if (versions.size > 1) {
    const found = [...versions].sort().join(" and ");
    say(false, `Versions: the functions are of ${found}. Deploy all of them from one release.`);
  } else if (versions.size === 1 && !versions.has(version)) {
    const [found] = versions;
    say(false, `Versions: the functions are of ${found}, this command of ${version}. ` +
      "Use the release that is deployed.");
  }

  // What the functions share is asked of one that has its configuration.
  const one = FUNCTIONS.find(works);
  if (!one) return false;
  const { status, json: health } = await check(one, "database");
  if (status === 200 && health.version) {
    const [deployed] = versions;
    if (health.version === deployed) say(true, `Database: ${health.version}`);
    else say(false, `Database: of ${health.version}, the functions of ${deployed}. Run \`supabase db push\`.`);
    const since = health.seconds_since_sync;
    if (since !== null && since <= 180) say(true, `Clock: zoom-sync ran ${since} s ago`);
    else {
      const ran = since === null ? "has never run" : `ran ${since} s ago`;
      say(false, `Clock: zoom-sync ${ran}, and should every minute. ` +
        "Put video_sessions_functions_url and video_sessions_secret_key into the Vault, or look at the cron trigger.");
    }
    const counts = [
      ["dead_letters", "Dead letters", "changes were given up",
        "docs/operations.md, changes on their way to Zoom, says how to go on."],
      ["late_changes", "Late changes", "changes are late by ten minutes", "See whether zoom-sync runs, and its log."],
      ["open_creations", "Open creations", "creations are undecided after a quarter of an hour",
        "See zoom-sync's log."],
      ["late_revocation", "Revocations", "tokens wait to be revoked at Zoom", "See zoom-sync's log."],
    ];
    for (const [key, title, what, remedy] of counts) {
      if (health[key] === 0) say(true, `${title}: none`);
      else say(false, `${title}: ${health[key]} ${what}. ${remedy}`);
    }
  } else {
    say(false, "Database: does not answer the functions, or its schema is older. Run `supabase db push`, and look at " +
      "SUPABASE_URL and the functions' secret key.");
  }

  const users = (await check(one, "users", userToken ? { authorization: `Bearer ${userToken}` } : {})).json.users;
  const remedy =
    "Look at SUPABASE_URL, SUPABASE_JWKS and SUPABASE_JWKS_URL, and at SUPABASE_JWT_ISSUER behind a custom domain.";
  if (users === "token_accepted") say(true, "Users: this user's token is accepted");
  else if (users === "keys_found")
    say(true, "Users: the key set is there (with --user-token, a user's token is tried)");
  else if (users === "token_expired") say(false, "Users: this token has expired. Take one from a fresh sign-in.");
  else if (users === "token_refused")
    say(false, `Users: this user's token is refused, by its issuer or its key. ${remedy}`);
  else say(false, `Users: the key set cannot be read. ${remedy}`);

  const zoom = FUNCTIONS.find((name) => works(name) && answers.get(name).json.zoom);
  if (zoom) {
    const credentials = (await check(zoom, "zoom")).json.zoom;
    if (credentials === "accepted") say(true, "Zoom: takes the client id and secret");
    else if (credentials === "refused") {
      say(false, "Zoom: refuses ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET. Copy both from the app's App Credentials: the " +
        "development pair and the production pair do not mix.");
    } else say(false, "Zoom: does not answer. Try again in a minute.");
  }

  if (works("zoom-webhook") && webhookToken) {
    const plainToken = randomBytes(16).toString("hex");
    const timestamp = Math.floor(Date.now() / 1000).toString();
    const body = JSON.stringify({ event: "endpoint.url_validation", payload: { plainToken }, event_ts: Date.now() });
    const hmac = (text) => createHmac("sha256", webhookToken).update(text).digest("hex");
    const answer = await ask("zoom-webhook", {
      method: "POST",
      headers: {
        "content-type": "application/json", "x-zm-request-timestamp": timestamp,
        "x-zm-signature": `v0=${hmac(`v0:${timestamp}:${body}`)}`,
      },
      body,
    });
    if (answer.status === 200 && answer.json.encryptedToken === hmac(plainToken)) {
      say(true, `Events: ${base}/zoom-webhook answers Zoom's validation`);
    } else {
      say(false, `Events: ${base}/zoom-webhook has another ZOOM_WEBHOOK_SECRET_TOKEN than this one. Copy the Secret ` +
        "Token from the app's Features > Access.");
    }
  } else if (works("zoom-webhook")) {
    print("-     Events: not tried. Pass --webhook-token, or ZOOM_WEBHOOK_SECRET_TOKEN, to try the secret token.");
  }
  print(fine ? "\nAll is well." : "\nSomething is wrong: see above.");
  return fine;
}
