/**
 * Serves all functions of wrangler.toml in one workerd on this machine: `node edge/local-workers.mjs CONFIG.json`.
 *
 * CONFIG.json is `{"env": {…}, "egress": "127.0.0.1:PORT"}`: what the functions find in their environment, and the
 * forward proxy that is their only way out; `"outside": ["https://zoom.us", …]` are origins that they reach without
 * it. `"modules": {NAME: FILE, …}` in it serves these in place of the functions.
 * As soon as requests are taken, prints `listening on 127.0.0.1:PORT`; a function answers under /functions/v1/NAME,
 * and, to the secret key alone, /functions/v1/NAME/__scheduled runs its cron trigger. What the functions log comes out
 * as they log it. Ends when it is killed.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const [configPath] = process.argv.slice(2);
if (!configPath) {
  console.error("usage: node edge/local-workers.mjs CONFIG.json");
  process.exit(2);
}
const config = JSON.parse(fs.readFileSync(configPath, "utf8"));
// Miniflare's files go where CONFIG.json is, since nobody removes them when this process is killed.
process.env.TMPDIR = path.dirname(path.resolve(configPath));
process.env.WRANGLER_SEND_METRICS = "false";
const { fetch: fetchDirectly, Miniflare, NoOpLog, Response } = await import("miniflare");
const { unstable_getMiniflareWorkerOptions: readWorker, unstable_readConfig: readConfig } = await import("wrangler");

const root = fileURLToPath(new URL("..", import.meta.url));
const wranglerToml = path.join(root, "wrangler.toml");
const date = readConfig({ config: wranglerToml }).compatibility_date;
const names = config.modules ? Object.keys(config.modules) : fs.readdirSync(path.join(root, "functions")).sort();

const proxy = { external: { address: config.egress, http: { style: 1 /* requests name the whole URL */ } } };

/** In place of the proxy, which speaks no TLS. */
async function reachDirectly(request) {
  const { origin } = new URL(request.url);
  if (![config.env.SUPABASE_URL, ...config.outside].includes(origin)) return new Response(null, { status: 502 });
  return fetchDirectly(request, { redirect: "manual" });
}

/** A function as its environment in wrangler.toml describes it, with our variables and our way out. */
function worker(name) {
  const { workerOptions, main, modules } = config.modules ? other(name) : readWorker(wranglerToml, name);
  if (!fs.existsSync(main)) throw new Error(`${main} is missing: build it with \`cargo xtask build\``);
  return {
    ...workerOptions,
    name,
    modulesRoot: root,
    ...(modules ? { modules } : { modules: true, scriptPath: main }),
    // Not what a developer keeps in .dev.vars.
    bindings: config.env,
    outboundService: config.outside?.length > 0 ? reachDirectly : proxy,
  };
}

/** What is served in place of a function, under the same conditions: one file, and the WebAssembly beside it. */
function other(name) {
  const main = config.modules[name];
  const beside = fs.existsSync(main) ? fs.readdirSync(path.dirname(main)) : [];
  const wasm = beside.filter((file) => file.endsWith(".wasm"));
  const modules = [
    { type: "ESModule", path: main },
    ...wasm.map((file) => ({ type: "CompiledWasm", path: path.join(path.dirname(main), file) })),
  ];
  return { workerOptions: { compatibilityDate: date }, main, modules };
}

/** What passes requests on; workerd's socket is its own, with nothing of Miniflare's between it and the client. */
const router = {
  name: "router",
  modules: true,
  script: `
    const secretKey = ${JSON.stringify(config.env.SUPABASE_SECRET_KEY ?? null)};
    export default {
      async fetch(request, env) {
        const [, name, rest] = /^[/]functions[/]v1[/]([^/]+)(.*)$/.exec(new URL(request.url).pathname) ?? [];
        if (!Object.hasOwn(env, name ?? "")) {
          return Response.json({ code: "NOT_FOUND", message: "Requested function was not found" }, { status: 404 });
        }
        if (rest === "/__scheduled") {
          if (request.headers.get("apikey") !== secretKey) return new Response(null, { status: 401 });
          return Response.json(await env[name].scheduled({ cron: "* * * * *" }));
        }
        return env[name].fetch(request);
      },
    };`,
  compatibilityDate: date,
  compatibilityFlags: ["service_binding_extra_handlers"],
  serviceBindings: Object.fromEntries(names.map((name) => [name, name])),
  unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
};

const miniflare = new Miniflare({
  workers: [router, ...names.map(worker)],
  host: "127.0.0.1",
  port: 0,
  cf: false,
  log: new NoOpLog(),
  logRequests: false,
  handleRuntimeStdio(stdout, stderr) {
    stdout.pipe(process.stdout);
    stderr.pipe(process.stderr);
  },
});
const address = await miniflare.unsafeGetDirectURL("router");
console.log(`listening on ${address.host}`);

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await miniflare.dispose();
    process.exit(0);
  });
}
