/**
 * The types of clients/typescript that are made, and the OpenAPI documents under a linter. DB_URL names a database with
 * the migrations. Fails where the package's files are not what is made here; with UPDATE=1 writes them.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { createConfig, lint } from "@redocly/openapi-core";
import { generateTypescript, introspect, sortGeneratorMetadata } from "@supabase/postgrest-typegen";
import openapiTS, { astToString } from "openapi-typescript";
import pg from "pg";

const root = new URL("../../", import.meta.url);
const packageFolder = fileURLToPath(new URL("clients/typescript", root));
const document = new URL("docs/openapi.yaml", root);
/** What the seed brings, for local databases only. */
const SEEDED = ["video_session_contacts"];

async function databaseTypes() {
  const database = new pg.Client({ connectionString: process.env.DB_URL });
  await database.connect();
  try {
    // One query at a time: the connection is one.
    let last = Promise.resolve();
    const query = (sql) => (last = last.then(() => database.query(sql)));
    const found = sortGeneratorMetadata(await introspect({ query }, { includedSchemas: ["public"] }));
    const functions = found.functions.filter(({ name }) => !SEEDED.includes(name) && !name.startsWith("edge_"));
    const made = await generateTypescript({ ...found, functions }, { detectOneToOneRelationships: true });
    // A file of declarations holds no values.
    return made.split("\nexport const Constants")[0] + "\n";
  } finally {
    await database.end();
  }
}

async function functionTypes() {
  return astToString(await openapiTS(document));
}

async function lintDocument(file) {
  const config = await createConfig({ extends: ["recommended"], rules: { "operation-4xx-response": "off" } });
  const problems = await lint({ ref: fileURLToPath(file), config });
  const errors = problems.filter(({ severity }) => severity === "error");
  for (const { ruleId, message, location } of errors) console.log(`${ruleId}: ${message} ${location[0]?.pointer ?? ""}`);
  assert.equal(errors.length, 0, `${file} has errors`);
}

function compare(name, made, head) {
  const file = path.join(packageFolder, name);
  const text = `${head}\n${made.trim()}\n`;
  if (process.env.UPDATE) return fs.writeFileSync(file, text);
  const advice = `clients/typescript/${name} is out of date: UPDATE_CLIENT_TYPES=1 cargo xtask test --only db --file db_client_types`;
  assert.ok(fs.existsSync(file) && fs.readFileSync(file, "utf8") === text, advice);
}

/** The declarations of the package's own code, which its comments give. */
function declarations() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "declarations-"));
  try {
    const program = [fileURLToPath(new URL("node_modules/typescript/bin/tsc", root)), "-p", packageFolder];
    execFileSync(process.execPath, [...program, "--outDir", folder], { stdio: ["ignore", "inherit", "inherit"] });
    return fs.readdirSync(folder).map((name) => [name, fs.readFileSync(path.join(folder, name), "utf8")]);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

await lintDocument(document);
await lintDocument(new URL("docs/openapi-database.yaml", root));
compare("database.d.ts", await databaseTypes(), "/** Made from the database's catalog. Do not edit. */");
compare("functions.d.ts", await functionTypes(), "/** Made from docs/openapi.yaml. Do not edit. */");
for (const [name, made] of declarations()) compare(name, made, "/** Made from the code beside it. Do not edit. */");
console.log("The documents pass the linter; the types are those of the document and of the database.");
