#!/usr/bin/env node
/**
 * `video-sessions`: adds Video Sessions to an app's `supabase/` folder, makes keys, asks a deployed installation how it
 * is.
 */
import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { add } from "./add.mjs";
import { doctor } from "./doctor.mjs";

const HELP = `video-sessions add [--dry-run] [--replace]
    Put migrations and functions into the supabase/ folder of the app in this directory, or upgrade them.
    --dry-run   Say what would be done.
    --replace   Take over functions that are there already; yours are kept beside, as NAME.replaced.

video-sessions keys new
    Print a key for TOKEN_ENCRYPTION_KEYS.

video-sessions doctor --functions-url URL --secret-key KEY [--webhook-token TOKEN] [--user-token JWT]
    Ask a deployed installation how it is. The key and the tokens may also come from SUPABASE_SECRET_KEY,
    ZOOM_WEBHOOK_SECRET_TOKEN and SUPABASE_USER_TOKEN in the environment, where no list of processes shows them.
`;

/** An id of the day and 32 random bytes. */
function newKey() {
  const day = new Date().toISOString().slice(0, 10).replaceAll("-", "");
  return `k${day}:${randomBytes(32).toString("base64")}`;
}

async function main() {
  const text = { type: "string" };
  const flag = { type: "boolean" };
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      help: { ...flag, short: "h" }, "dry-run": flag, replace: flag,
      "functions-url": text, "secret-key": text, "webhook-token": text,
      "user-token": text,
    },
  });
  const command = positionals.join(" ");
  if (values.help || command === "" || command === "help") {
    console.log(HELP);
    return true;
  }
  switch (command) {
    case "add":
      return add(process.cwd(), { dryRun: values["dry-run"], replace: values.replace });
    case "keys new":
      console.log(newKey());
      return true;
    case "doctor":
      return doctor({
        functionsUrl: values["functions-url"],
        secretKey: values["secret-key"] ?? process.env.SUPABASE_SECRET_KEY,
        userToken: values["user-token"] ?? process.env.SUPABASE_USER_TOKEN,
        webhookToken: values["webhook-token"] ?? process.env.ZOOM_WEBHOOK_SECRET_TOKEN,
      });
    default:
      throw new Error(`there is no command ${command}: \`video-sessions help\` lists them`);
  }
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
