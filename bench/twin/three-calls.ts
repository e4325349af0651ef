/** The floor of create-session: a worker that makes the same three calls and does nothing else. */
import type { Env } from "./common.ts";

export default async (request: Request, env: Env): Promise<Response> => {
  await request.arrayBuffer();
  let text = "";
  for (let call = 0; call < 3; call += 1) {
    const answer = await fetch(`${env.SUPABASE_URL}/auth/v1/.well-known/jwks.json`);
    text = await answer.text();
  }
  return new Response(text);
};
