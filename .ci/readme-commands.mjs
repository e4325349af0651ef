#!/usr/bin/env node
/**
 * Runs the commands of README.md that no test runs, as a reader would, and fails for each command there that is neither
 * run nor known to be run elsewhere.
 */
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = fs.readFileSync(path.join(root, "README.md"), "utf8");

/** Where a test runs it. The name has to be there. */
const inTest = (file, name) => () => {
  if (!fs.readFileSync(path.join(root, file), "utf8").includes(name)) throw new Error(`${file} has no ${name}`);
};
/** A step of .ci/run. */
const inCi = (step) => inTest(".ci/run", `step ${step}`);
/** What cannot be run here, and why. */
const notHere = (_why) => () => {};
/** A command that ends by itself. */
const runs = (command, expected) => () => {
  const said = run(command);
  if (!said.includes(expected)) throw new Error(`"${expected}" was expected:\n${said}`);
};

const newcomer = inTest("tests/tests/stack/release.rs", "a_newcomer_adds_it_pushes_serves_it_and_walks_the_whole_path");
const deployed = inTest("tests/tests/stack/release.rs", "what_the_cli_deploys_has_its_webassembly_inside");
const doctor = inTest("tests/tests/stack/doctor.rs", "each_thing_that_breaks_is_named_by_its_line");
const baseline = inTest("tests/tests/db/baseline.rs", "the_supabase_cli_applies_them_and_then_has_nothing_to_do");

const COMMANDS = {
  "cargo xtask dev": dev,
  "the whole path with curl": inTest("tests/tests/stack/release.rs", "readme::run_path_with_curl"),
  "cargo xtask test": inCi("cargo xtask test"),
  "cargo xtask dev --real-zoom": withoutCredentials,
  "cargo xtask build --for supabase": runs("cargo xtask build --for supabase", "zoom-sync"),
  "cargo xtask build": inCi("cargo xtask test"),
  "cargo xtask package": inTest("xtask/src/test.rs", "package::make()"),
  "cargo xtask add --to ../app": newcomer,
  "cargo xtask bench": notHere("it measures for many minutes; docs/performance.md has what it says"),
  "cargo xtask keys new": keys,
  "cargo xtask sql baseline": inCi("cargo xtask sql check"),
  "cargo xtask deploy supabase": inCi("cargo xtask deploy supabase --dry-run"),
  "cargo xtask deploy cloudflare --domain api.example.com": runs(
    "cargo xtask deploy cloudflare --domain api.example.com --dry-run --vars .dev.vars.example",
    "Nothing was shipped: this was a dry run.",
  ),
  "UPDATE_SCREENSHOTS=1 cargo xtask test --only e2e -- browser": inTest(
    "tests/tests/web/web_client.rs", "UPDATE_SCREENSHOTS"),
  "npx --package ../video-sessions-0.1.0.tgz video-sessions add --dry-run": newcomer,
  "npx --package ../video-sessions-0.1.0.tgz video-sessions add": newcomer,
  "video-sessions add": newcomer,
  "SUPABASE_SECRET_KEY=sb_secret_… npx --package ../video-sessions-0.1.0.tgz video-sessions doctor \\": doctor,
  "video-sessions doctor": doctor,
  "supabase db push": baseline,
  "supabase functions deploy": deployed,
  "supabase link": notHere("it needs an account at Supabase"),
  "supabase start": notHere("it needs Docker"),
  "brew install postgrest": notHere("it needs macOS"),
  "psql -f": inTest("tests/tests/db/baseline.rs", "psql"),
  ".ci/run": () => {},
};

/** The README's commands: in its blocks, and in its sentences. */
function commandsOf(text) {
  const found = new Set();
  const prose = text.replace(/^```(\w*)\n([^]*?)^```/gm, (_, language, block) => {
    if (language === "sh" && block.includes("zoom-oauth-start")) found.add("the whole path with curl");
    else if (language === "sh") block.trim().split("\n").forEach((line) => found.add(line));
    return "";
  });
  for (const [, line] of prose.matchAll(/^ {4}(\S.*?)(?:\s+# .*)?$/gm)) {
    if (!line.startsWith("--")) found.add(line);
  }
  const programs = "cargo|npx|supabase|video-sessions|brew|psql|wrangler|npm|node";
  const inSentences = new RegExp(`\`((?:[A-Z_]+=\\S+ )?(?:${programs}) [^\`]*|\\.ci/run)\``, "g");
  for (const [, command] of prose.matchAll(inSentences)) found.add(command.replace(/\s+/g, " "));
  return [...found];
}

function run(command, options = {}) {
  const { status, stdout, stderr } = spawnSync("bash", ["-euo", "pipefail", "-c", command], {
    cwd: root, encoding: "utf8", ...options,
  });
  if (status !== (options.status ?? 0)) throw new Error(`${command}: ${status}\n${stdout}${stderr}`);
  return stdout + stderr;
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts the local stack, walks the path with curl on it, and ends it by Ctrl-C. */
async function dev() {
  const child = spawn("cargo", ["xtask", "dev", "--port", String(await freePort())], {
    cwd: root, detached: true, stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  try {
    const lines = [];
    for await (const line of readline.createInterface({ input: child.stdout })) {
      lines.push(line);
      if (line.startsWith("The web client: ")) break;
    }
    const address = /^The web client: (\S+)$/.exec(lines.at(-1))?.[1];
    if (!address) throw new Error(`it is not up:\n${lines.join("\n")}`);
    child.stdout.resume();
    const page = await fetch(address);
    if (page.status !== 200 || !(await page.text()).includes("<title>")) throw new Error(`${address}: ${page.status}`);
    run("cargo xtask status | head -n 1");
    const [, path] = /^```sh\n([^]*?)^```/m.exec(readme);
    const said = run(path);
    for (const expected of ['"state": "connected"', '"share_code"', '"host_start_url"', '"zoom_not_connected"']) {
      const tight = said.replaceAll('": ', '":');
      if (!tight.includes(expected.replace('": ', '":'))) throw new Error(`${expected} was expected:\n${said}`);
    }
  } finally {
    process.kill(-child.pid, "SIGINT");
  }
  const code = await ended;
  if (code !== 0) throw new Error(`after Ctrl-C: ${code}`);
}

/** Zoom itself cannot be had here: as far as the message of who has not put credentials in. */
function withoutCredentials() {
  if (fs.existsSync(path.join(root, ".dev.vars"))) return;
  const env = { ...process.env, ZOOM_CLIENT_ID: "" };
  const said = run("cargo xtask dev --real-zoom", { env, status: 1 });
  if (!said.includes("ZOOM_CLIENT_ID is missing")) throw new Error(said);
}

function keys() {
  const [, key] = /^\w+:(\S+)$/m.exec(run("cargo xtask keys new")) ?? [];
  if (Buffer.from(key ?? "", "base64").length !== 32) throw new Error("not a key of 32 bytes");
}

let failures = 0;
for (const command of commandsOf(readme)) {
  try {
    const check = COMMANDS[command];
    if (!check) throw new Error("nothing runs it: see COMMANDS in .ci/readme-commands.mjs");
    await check();
    console.log(`ok      ${command}`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED  ${command}: ${error.message}`);
  }
}
process.exit(failures === 0 ? 0 : 1);
