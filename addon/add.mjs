/**
 * `video-sessions add`: puts the release into an app's folder. What it put there and nobody changed since is upgraded;
 * what is the app's own is never overwritten.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const RELEASE = path.dirname(fileURLToPath(import.meta.url));
/** Remembers what was put here: belongs in the app's git. */
const MEMORY = "supabase/video-sessions.json";
const CONFIG = "supabase/config.toml";
const EXAMPLE = ".env.video-sessions.example";

const hash = (content) => createHash("sha256").update(content).digest("hex");
const names = (dir) => (fs.existsSync(dir) ? fs.readdirSync(dir).sort() : []);

/** What the release brings: groups of files that only make sense together, by their path in the app. */
function release() {
  const groups = new Map();
  const file = (group, to, from) => {
    if (!groups.has(group)) groups.set(group, new Map());
    groups.get(group).set(to, fs.readFileSync(path.join(RELEASE, from)));
  };
  for (const name of names(path.join(RELEASE, "migrations"))) {
    file(`supabase/migrations/${name}`, `supabase/migrations/${name}`, `migrations/${name}`);
  }
  const functions = names(path.join(RELEASE, "supabase"));
  for (const name of functions) {
    for (const part of names(path.join(RELEASE, "supabase", name))) {
      file(`supabase/functions/${name}`, `supabase/functions/${name}/${part}`, `supabase/${name}/${part}`);
    }
  }
  file(EXAMPLE, EXAMPLE, "env.example");
  const { version } = JSON.parse(fs.readFileSync(path.join(RELEASE, "package.json"), "utf8"));
  return { groups, functions, version };
}

/** What lies in the app where a group goes, by path: the files of a folder, or the one file. */
function present(app, group) {
  const found = new Map();
  const visit = (at) => {
    const full = path.join(app, at);
    const stat = fs.statSync(full, { throwIfNoEntry: false });
    if (stat?.isDirectory()) for (const name of names(full)) visit(`${at}/${name}`);
    else if (stat) found.set(at, fs.readFileSync(full));
  };
  visit(group);
  return found;
}

/**
 * Compares a group with what is there: `new`, `same`, `ours` (as we put it there), `changed` since, or the app's `own`.
 */
function judge(found, wanted, remembered) {
  if (found.size === 0) return "new";
  const known = [...found].filter(([file]) => remembered[file]);
  const isSame = ([file, content]) => found.get(file)?.equals(content);
  if (found.size === wanted.size && [...wanted].every(isSame)) return "same";
  if (known.length === 0) return "own";
  return known.length === found.size && known.every(([file, content]) => remembered[file] === hash(content))
    ? "ours"
    : "changed";
}

/** The lines that `config.toml` lacks, and what in it stands against us. */
export function configBlocks(text, functions) {
  const missing = [];
  const warnings = [];
  for (const name of functions) {
    const key = `[ \\t]*functions[ \\t]*\\.[ \\t]*["']?${name}["']?[ \\t]*`;
    const header = new RegExp(`^[ \\t]*\\[${key}\\][ \\t]*(#.*)?$`, "m");
    const dotted = new RegExp(`^[ \\t]*(functions[ \\t]*\\.[ \\t]*)?["']?${name}["']?[ \\t]*[.=]`, "m");
    const found = header.exec(text);
    if (!found && !dotted.test(text)) {
      missing.push(`[functions.${name}]\nverify_jwt = false\n`);
    } else if (found) {
      const block = text.slice(found.index + found[0].length).split(/^[ \t]*\[/m)[0];
      if (!/^[ \t]*verify_jwt[ \t]*=[ \t]*false\b/m.test(block)) {
        warnings.push(
          `[functions.${name}] in ${CONFIG} has to say verify_jwt = false: the function checks its callers itself.`,
        );
      }
    }
  }
  if (missing.length === 0) return { text, warnings };
  const head = "# Video Sessions: each function checks its callers itself, and Zoom has no token of this project.\n";
  const end = text === "" || text.endsWith("\n") ? "" : "\n";
  const added = `${end}\n${head}${missing.join("\n")}`;
  return { text: text + (text.includes("\r\n") ? added.replaceAll("\n", "\r\n") : added), warnings };
}

/** How the app's database gets our migrations: the app's own files say. */
export function howToPush(migrations, ours) {
  const own = migrations.filter((name) => name.endsWith(".sql") && !ours.includes(name));
  const versions = own.map((name) => name.split("_")[0]);
  const odd = versions.some((version, place) => !/^\d{14}$/.test(version) && versions.indexOf(version) !== place);
  if (odd) return "by hand";
  const oldest = ours.map((name) => name.split("_")[0]).sort()[0] ?? "";
  return versions.some((version) => /^\d+$/.test(version) && version > oldest) ? "include all" : "push";
}

export function add(app, { dryRun = false, replace = false } = {}) {
  const at = (file) => path.join(app, file);
  if (!fs.existsSync(at(CONFIG))) {
    throw new Error(`there is no ${CONFIG} here: run this in your app's folder, after \`supabase init\``);
  }
  const { groups, functions, version } = release();
  const memory = fs.existsSync(at(MEMORY)) ? JSON.parse(fs.readFileSync(at(MEMORY), "utf8")) : { files: {} };
  const remembered = memory.files;
  const judged = [...groups].map(([group, wanted]) => {
    const found = present(app, group);
    return { group, wanted, found, verdict: judge(found, wanted, remembered) };
  });
  const inTheWay = judged.filter(({ verdict }) => verdict === "own");
  if (inTheWay.length > 0 && !replace) {
    const list = inTheWay.map(({ group }) => `\n  ${group}`).join("");
    throw new Error(
      `these are there already, and are not from here:${list}\n` +
        "Nothing was changed. With --replace yours are kept beside, as NAME.replaced.",
    );
  }

  const said = [];
  const say = (what, group) => said.push(`  ${what.padEnd(10)} ${group}`);
  const files = {};
  const changed = [];
  for (const { group, wanted, found, verdict } of judged) {
    if (verdict === "changed" && !replace) {
      changed.push(group);
      // What is remembered stays what we put there, so that the next run knows again.
      for (const file of found.keys()) if (remembered[file]) files[file] = remembered[file];
      continue;
    }
    for (const [file, content] of wanted) files[file] = hash(content);
    if (verdict === "same") continue;
    if (verdict === "own" || verdict === "changed") {
      let beside = `${group}.replaced`;
      for (let n = 2; fs.existsSync(at(beside)); n += 1) beside = `${group}.replaced${n}`;
      say("keeps", `${group} as ${beside}`);
      if (!dryRun) fs.renameSync(at(group), at(beside));
    } else if (!dryRun) {
      for (const file of found.keys()) fs.rmSync(at(file));
    }
    say(verdict === "new" ? "adds" : "upgrades", group);
    if (dryRun) continue;
    for (const [file, content] of wanted) {
      fs.mkdirSync(path.dirname(at(file)), { recursive: true });
      fs.writeFileSync(at(file), content);
    }
  }
  // What an older release brought and this one does not.
  for (const file of Object.keys(remembered)) {
    if (files[file] || !fs.existsSync(at(file))) continue;
    if ([...groups.keys()].some((group) => file === group || file.startsWith(`${group}/`))) continue;
    if (hash(fs.readFileSync(at(file))) !== remembered[file]) {
      changed.push(file);
      continue;
    }
    say("removes", file);
    if (dryRun) continue;
    fs.rmSync(at(file));
    const folder = path.dirname(at(file));
    if (fs.readdirSync(folder).length === 0) fs.rmdirSync(folder);
  }
  const before = fs.readFileSync(at(CONFIG), "utf8");
  for (const [, name] of before.matchAll(/^\[functions\.([\w-]+)\]/gm)) {
    const was = `supabase/functions/${name}/index.ts`;
    if (remembered[was] && !files[was]) say("remains", `[functions.${name}] in ${CONFIG}: take it out`);
  }
  const config = configBlocks(before, functions);
  if (config.text !== before) {
    say("adds to", CONFIG);
    if (!dryRun) fs.writeFileSync(at(CONFIG), config.text);
  }
  const remember = `${JSON.stringify({ version, files }, Object.keys(files).sort().concat("version", "files"), 2)}\n`;
  if (!fs.existsSync(at(MEMORY)) || fs.readFileSync(at(MEMORY), "utf8") !== remember) {
    say("remembers", MEMORY);
    if (!dryRun) fs.writeFileSync(at(MEMORY), remember);
  }

  console.log(`Video Sessions ${version}${dryRun ? ", a dry run: nothing is written" : ""}`);
  console.log(said.length > 0 ? said.join("\n") : "  Everything is there already: nothing was changed.");
  for (const warning of config.warnings) console.log(`\n${warning}`);
  if (changed.length > 0) {
    const list = changed.map((file) => `\n  ${file}`).join("");
    console.log(
      `\nLeft as they are, because somebody changed them since they were added:${list}\n` +
        "With --replace yours are kept beside, as NAME.replaced, and this release's are taken.",
    );
  }
  if (said.length > 0) console.log(nextSteps(app, groups, functions));
  return changed.length === 0;
}

function nextSteps(app, groups, functions) {
  const prefix = "supabase/migrations/";
  const migrations = [...groups.keys()].filter((group) => group.startsWith(prefix));
  const ours = migrations.map((group) => group.slice(prefix.length));
  const reference = path.join(app, "supabase/.temp/project-ref");
  const project = fs.existsSync(reference) ? fs.readFileSync(reference, "utf8").trim() : "<project-ref>";
  const base = `https://${project}.supabase.co/functions/v1`;
  const way = howToPush(names(path.join(app, prefix)), ours);
  const database =
    way === "by hand"
      ? "   Two of your migrations have the same version, which the CLI cannot push. Paste each file into the SQL\n" +
        "   editor of the dashboard, or run it with psql; a second run does no harm:\n" +
        ours.map((name) => `     psql "$DATABASE_URL" -f ${prefix}${name}`).join("\n")
      : `     supabase db push --linked${way === "include all" ? " --include-all" : ""}\n` +
        (way === "include all" ? "   (--include-all, because your newest migration is newer than ours.)\n" : "") +
        "   (CLI 3 takes the local stack without a target, and calls this one --remote as well.)";
  return `
What comes next:

1. Copy ${EXAMPLE} to .env.video-sessions, put your values in, keep it out of git, and hand it over:
     supabase secrets set --env-file .env.video-sessions
2. The database:
${database}
   It says what moved aside, what was taken over, and what was not, in:
     select line from video_sessions_private.installation;
3. The functions:
     supabase functions deploy --use-api ${functions.join(" ")}
4. The clock, once, in the SQL editor, with a secret key of the project (sb_secret_…):
     select vault.create_secret('${base}', 'video_sessions_functions_url');
     select vault.create_secret('<secret key>', 'video_sessions_secret_key');
5. At Zoom (marketplace.zoom.us, your app):
     OAuth redirect URL, and on its allow list:  ${base}/zoom-oauth-callback
     Event notification endpoint URL:            ${base}/zoom-webhook
     Deauthorization notification endpoint URL:  the same as for events
6. See whether all of it works:
     SUPABASE_SECRET_KEY=<secret key> npx --package <this archive> video-sessions doctor --functions-url ${base}

Commit ${MEMORY}: it remembers what was added.`;
}
