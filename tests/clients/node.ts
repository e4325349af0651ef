import { story } from "./story.js";

const { API_URL = "", PUBLISHABLE_KEY = "", EMAIL = "", PASSWORD = "" } = process.env;
// Node 20 has no WebSocket, and supabase-js wants one, also where nothing is watched.
const transport = globalThis.WebSocket ?? (class {} as unknown as typeof WebSocket);
const place = { url: API_URL, key: PUBLISHABLE_KEY, email: EMAIL, password: PASSWORD, transport };
console.log(`Node ${process.version}:`, await story(place));
