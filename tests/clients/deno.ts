import { story } from "./story.ts";

declare const Deno: { env: { get(name: string): string | undefined }; version: { deno: string } };
const env = (name: string) => Deno.env.get(name) ?? "";
const place = { url: env("API_URL"), key: env("PUBLISHABLE_KEY"), email: env("EMAIL"), password: env("PASSWORD") };
console.log(`Deno ${Deno.version.deno}:`, await story(place));
