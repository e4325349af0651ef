/**
 * What edge/local-deno.mjs runs under Deno, with CONFIG.json as its argument.
 */
type Handler = (request: Request) => Response | Promise<Response>;

const [configPath] = Deno.args;
const config: {
  env: Record<string, string>;
  egress: string;
  outside?: string[];
  functions?: string;
  modules?: Record<string, string>;
} = JSON.parse(Deno.readTextFileSync(configPath));

// The functions see their configuration and nothing else.
for (const name of Object.keys(Deno.env.toObject())) Deno.env.delete(name);
for (const [name, value] of Object.entries(config.env)) Deno.env.set(name, value);

// The proxy is the only way out, for loopback too, but for the origins in `outside`.
const client = Deno.createHttpClient({ proxy: { transport: "http", url: `http://${config.egress}` } });
const fetchDirectly = globalThis.fetch;
globalThis.fetch = (input: URL | Request | string, init?: RequestInit) => {
  const { origin } = new URL(input instanceof Request ? input.url : input);
  return fetchDirectly(input, config.outside?.includes(origin) ? init : { ...init, client });
};

const handlers = new Map<string, Handler>();
const serve = Deno.serve;
const root = config.functions
  ? new URL(`file://${config.functions}/`)
  : new URL("../supabase/functions/", import.meta.url);
const folders = [...Deno.readDirSync(root)].filter(({ name, isDirectory }) => isDirectory && !name.startsWith("_"));
const functions = folders.map(({ name }) => [name, new URL(`${name}/index.ts`, root).pathname]);
for (const [name, file] of config.modules ? Object.entries(config.modules) : functions) {
  const registered = new Promise<Handler>((resolve) => {
    Object.defineProperty(Deno, "serve", { value: resolve, configurable: true });
  });
  await import(`file://${file}`);
  handlers.set(name, await registered);
}

serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ hostname, port }) => console.log(`listening on ${hostname}:${port}`),
  onError(error) {
    console.error(error);
    return new Response("Internal Server Error", { status: 500 });
  },
}, (request) => {
  const [, name] = /^[/]functions[/]v1[/]([^/]+)/.exec(new URL(request.url).pathname) ?? [];
  const handler = handlers.get(name ?? "");
  if (!handler) {
    return Response.json({ code: "NOT_FOUND", message: "Requested function was not found" }, { status: 404 });
  }
  return handler(request);
});
