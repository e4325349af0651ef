import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { configBlocks, howToPush } from "./add.mjs";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const OURS = ["20261126000000_video_sessions.sql"];

/** A release with two functions, and an app to add it to. */
function world(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "video-sessions-add-"));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  const write = (file, text) => {
    fs.mkdirSync(path.dirname(path.join(dir, file)), { recursive: true });
    fs.writeFileSync(path.join(dir, file), text);
  };
  const release = (version, body) => {
    for (const file of ["cli.mjs", "add.mjs", "doctor.mjs"]) {
      write(`${version}/${file}`, fs.readFileSync(path.join(HERE, file)));
    }
    write(`${version}/package.json`, JSON.stringify({ version, type: "module" }));
    write(`${version}/env.example`, "ZOOM_CLIENT_ID=your-client-id\n");
    write(`${version}/migrations/${OURS[0]}`, "select 1;\n");
    for (const name of ["start-session", "zoom-oauth-start"]) {
      write(`${version}/supabase/${name}/index.ts`, `// ${body}\n`);
      write(`${version}/supabase/${name}/deno.json`, "{}\n");
    }
  };
  release("1.0.0", "one");
  release("1.1.0", "two");
  write("app/supabase/config.toml", '# Ours.\nproject_id = "app" # not to be lost\n');
  const run = (version, ...args) => {
    const done = spawnSync(process.execPath, [path.join(dir, version, "cli.mjs"), ...args], {
      cwd: path.join(dir, "app"), encoding: "utf8",
    });
    return { status: done.status, said: done.stdout + done.stderr };
  };
  /** Every file of the app, by path. */
  const files = () =>
    Object.fromEntries(
      fs.readdirSync(path.join(dir, "app"), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.relative(path.join(dir, "app"), path.join(entry.parentPath ?? entry.path, entry.name)))
        .sort()
        .map((file) => [file, fs.readFileSync(path.join(dir, "app", file), "utf8")]),
    );
  const forget = (file) => fs.rmSync(path.join(dir, file), { recursive: true });
  return { run, files, forget, write: (file, text) => write(`app/${file}`, text) };
}

test("it is added once, and a second time changes nothing", (t) => {
  const { run, files } = world(t);
  const before = files();
  const dry = run("1.0.0", "add", "--dry-run");
  assert.equal(dry.status, 0, dry.said);
  assert.match(dry.said, /adds +supabase\/functions\/start-session/);
  assert.deepEqual(files(), before);

  const first = run("1.0.0", "add");
  assert.equal(first.status, 0, first.said);
  for (const text of [
    "supabase secrets set --env-file .env.video-sessions", "supabase db push --linked\n",
    "functions deploy --use-api start-session zoom-oauth-start", "vault.create_secret", "zoom-oauth-callback", "doctor",
  ]) assert.ok(first.said.includes(text), `${text}\n${first.said}`);
  const added = files();
  assert.deepEqual(Object.keys(added), [
    ".env.video-sessions.example", "supabase/config.toml", "supabase/functions/start-session/deno.json",
    "supabase/functions/start-session/index.ts", "supabase/functions/zoom-oauth-start/deno.json",
    "supabase/functions/zoom-oauth-start/index.ts", `supabase/migrations/${OURS[0]}`, "supabase/video-sessions.json",
  ]);
  assert.ok(added["supabase/config.toml"].startsWith('# Ours.\nproject_id = "app" # not to be lost\n'));
  assert.match(added["supabase/config.toml"], /\[functions\.start-session\]\nverify_jwt = false\n/);

  const second = run("1.0.0", "add");
  assert.equal(second.status, 0, second.said);
  assert.match(second.said, /nothing was changed/);
  assert.deepEqual(files(), added);
});

test("an upgrade takes what nobody changed, and names what somebody did", (t) => {
  const { run, files, write } = world(t);
  run("1.0.0", "add");
  write("supabase/functions/start-session/index.ts", "// mine\n");
  for (let again = 0; again < 2; again += 1) {
    const upgraded = run("1.1.0", "add");
    assert.equal(upgraded.status, 1, upgraded.said);
    assert.match(upgraded.said, /somebody changed them[^]*supabase\/functions\/start-session\n/);
    assert.equal(files()["supabase/functions/start-session/index.ts"], "// mine\n");
    assert.equal(files()["supabase/functions/zoom-oauth-start/index.ts"], "// two\n");
  }
  const replaced = run("1.1.0", "add", "--replace");
  assert.equal(replaced.status, 0, replaced.said);
  assert.equal(files()["supabase/functions/start-session/index.ts"], "// two\n");
  assert.equal(files()["supabase/functions/start-session.replaced/index.ts"], "// mine\n");
});

test("functions of the app's own by these names stop it, before anything is written", (t) => {
  const { run, files, write } = world(t);
  write("supabase/functions/zoom-oauth-start/index.ts", "// mine\n");
  const before = files();
  const stopped = run("1.0.0", "add");
  assert.equal(stopped.status, 1);
  assert.match(stopped.said, /\n {2}supabase\/functions\/zoom-oauth-start\n/);
  assert.deepEqual(files(), before);
  assert.equal(run("1.0.0", "add", "--replace").status, 0);
  assert.equal(files()["supabase/functions/zoom-oauth-start.replaced/index.ts"], "// mine\n");
  assert.equal(files()["supabase/functions/zoom-oauth-start/index.ts"], "// one\n");
  assert.match(run("1.0.0", "add").said, /nothing was changed/);
});

test("config.toml keeps what it says", () => {
  const known = "[functions.a] # ours\r\nverify_jwt = false\r\n[functions.\"b\"]\r\nverify_jwt = true\r\n";
  const { text, warnings } = configBlocks(known, ["a", "b", "c"]);
  assert.ok(text.startsWith(known));
  assert.ok(text.endsWith("[functions.c]\r\nverify_jwt = false\r\n"));
  assert.equal(text.match(/functions/g).length, 3 + 0);
  assert.deepEqual(warnings.map((line) => line.split(" ")[0]), ["[functions.b]"]);
  const inline = "[functions]\na = { verify_jwt = false }\n";
  assert.equal(configBlocks(inline, ["a"]).text, inline);
});

test("how the database gets it depends on the app's own migrations", () => {
  assert.equal(howToPush([...OURS], OURS), "push");
  assert.equal(howToPush(["20250101000000_a.sql", "20250127_b.sql", ...OURS], OURS), "push");
  assert.equal(howToPush(["20250127_a.sql", "20250127_b.sql", ...OURS], OURS), "by hand");
  assert.equal(howToPush(["20270101000000_a.sql", ...OURS], OURS), "include all");
});

test("where the CLI cannot push, it says to run the file by hand", (t) => {
  const { run, write } = world(t);
  write("supabase/migrations/20250127_a.sql", "select 1;\n");
  write("supabase/migrations/20250127_b.sql", "select 1;\n");
  const { status, said } = run("1.0.0", "add");
  assert.equal(status, 0, said);
  assert.match(said, /SQL editor/);
  assert.ok(said.includes(`psql "$DATABASE_URL" -f supabase/migrations/${OURS[0]}\n`), said);
  assert.ok(!said.includes("db push"), said);
});

test("what a newer release no longer has is removed, unless somebody changed it", (t) => {
  for (const changed of [false, true]) {
    const { run, files, write, forget } = world(t);
    run("1.0.0", "add");
    const removed = "supabase/functions/start-session/index.ts";
    if (changed) write(removed, "// mine\n");
    forget("1.1.0/supabase/start-session");
    const { status, said } = run("1.1.0", "add");
    assert.equal(status, changed ? 1 : 0, said);
    assert.equal(files()[removed], changed ? "// mine\n" : undefined);
    const expected = changed
      ? /somebody changed them[^]*start-session\/index\.ts/
      : /removes +supabase\/functions\/start-session/;
    assert.match(said, expected);
  }
});

test("a new key is an id and 32 bytes", (t) => {
  const { run } = world(t);
  const [id, bytes] = run("1.0.0", "keys", "new").said.trim().split(":");
  assert.match(id, /^k20\d{6}$/);
  assert.equal(Buffer.from(bytes, "base64").length, 32);
});
