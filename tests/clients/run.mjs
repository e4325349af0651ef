/**
 * The client package on Node, on Deno and in a browser, against the local stack: API_URL, PUBLISHABLE_KEY, EMAIL,
 * PASSWORD and CHROME say where and who.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import esbuild from "esbuild";
import { chromium } from "playwright-core";

const { API_URL, PUBLISHABLE_KEY, EMAIL, PASSWORD, CHROME } = process.env;
const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, "../..");
const run = (program, args, input) =>
  execFileSync(program, args, { cwd: root, encoding: "utf8", input, stdio: ["pipe", "pipe", "inherit"] }).trim();
const bundle = async (entry, options = {}) => {
  const built = await esbuild.build({
    entryPoints: [path.resolve(root, entry)],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    logLevel: "warning",
    ...options,
  });
  return built.outputFiles[0].text;
};

run(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tests/clients"]);
console.log("tsc --strict: no error");

const packed = await bundle("clients/typescript/index.js", { minify: true });
console.log(`Size: ${packed.length} bytes, ${gzipSync(packed).length} gzipped`);
assert.ok(gzipSync(packed).length < 6_000, "the package has grown");

const program = await bundle("tests/clients/node.ts", { platform: "node", packages: "external" });
console.log(run(process.execPath, ["--input-type=module", "-"], program));

const deno = ["run", "--quiet", "--no-check", "--node-modules-dir=manual", "--allow-net", "--allow-env", "--allow-read"];
console.log(run(process.execPath, ["node_modules/deno/bin.cjs", ...deno, "tests/clients/deno.ts"]));

const browser = await chromium.launch({ executablePath: CHROME, args: ["--no-sandbox", "--disable-gpu"] });
try {
  const page = await browser.newPage();
  // Of the stack's origin, as the web client is.
  const script = await bundle("tests/clients/browser.ts");
  const html = '<!doctype html><title>Client</title><script type="module" src="program.js"></script>';
  await page.route("**/program.html", (route) => route.fulfill({ contentType: "text/html", body: html }));
  await page.route("**/program.js", (route) => route.fulfill({ contentType: "text/javascript", body: script }));
  await page.goto(`${API_URL}/program.html`);
  const place = { url: API_URL, key: PUBLISHABLE_KEY, email: EMAIL, password: PASSWORD };
  await page.waitForFunction(() => "story" in globalThis);
  console.log(`Chromium ${browser.version()}:`, await page.evaluate((place) => globalThis.story(place), place));
} finally {
  await browser.close();
}
