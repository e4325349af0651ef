/**
 * Serves all functions in one Deno on this machine: `node edge/local-deno.mjs CONFIG.json`, with the same file, the
 * same addresses and the same first line as edge/local-workers.mjs. What runs are Supabase's entry points,
 * supabase/functions; the build for them is `cargo xtask build --for supabase`. Ends when it is killed, Deno and all.
 */
import { spawn } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const [configPath] = process.argv.slice(2);
if (!configPath) {
  console.error("usage: node edge/local-deno.mjs CONFIG.json");
  process.exit(2);
}

/** The program itself: npm's script of that name copies it first, into a folder that may not be ours. */
function program() {
  const { optionalDependencies } = createRequire(import.meta.url)("deno/package.json");
  const file = process.platform === "win32" ? "deno.exe" : "deno";
  const modules = fileURLToPath(new URL("../node_modules", import.meta.url));
  const platform = `@deno/${process.platform}-${process.arch}`;
  const found = Object.keys(optionalDependencies)
    .filter((name) => name === platform || name === `${platform}-glibc`)
    .map((name) => path.join(modules, name, file))
    .find((candidate) => fs.existsSync(candidate));
  if (!found) throw new Error(`npm has no Deno for ${process.platform}-${process.arch}, or \`npm ci\` has not run`);
  return found;
}

const config = path.resolve(configPath);
const deno = spawn(
  program(),
  [
    "run", "--allow-all", "--no-config", "--no-lock", "--cached-only", "--no-prompt",
    fileURLToPath(new URL("local-deno.ts", import.meta.url)), config,
  ],
  {
    stdio: "inherit",
    env: {
      ...process.env,
      // Its cache goes where CONFIG.json is, and it asks nobody for news.
      DENO_DIR: path.join(path.dirname(config), "deno"),
      DENO_NO_UPDATE_CHECK: "1",
    },
  },
);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => deno.kill(signal));
deno.on("exit", (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
