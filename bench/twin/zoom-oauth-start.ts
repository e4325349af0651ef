/** The twin of functions/zoom-oauth-start. */
import { base64url, type Call, hex, json, randomToken, Refusal, seal, serve, sha256 } from "./common.ts";

async function handle(call: Call): Promise<Response> {
  const user = await call.user();
  const state = randomToken();
  const verifier = randomToken();
  const begun = await call.rpc<{ outcome: string; expires_at: string }>("edge_oauth_begin", {
    user_id: user,
    state_hash: hex(await sha256(state)),
    sealed_verifier: await seal(call.env, `zoom_oauth_states/${user}/sealed_verifier`, verifier),
  });
  if (begun.outcome !== "ok") throw new Refusal(403, "not_a_host", "Only hosts connect Zoom.");
  const url = new URL(`${call.env.ZOOM_OAUTH_URL}/authorize`);
  url.searchParams.append("response_type", "code");
  url.searchParams.append("client_id", call.env.ZOOM_CLIENT_ID);
  url.searchParams.append("redirect_uri", call.env.ZOOM_REDIRECT_URI);
  url.searchParams.append("state", state);
  url.searchParams.append("code_challenge", base64url(new Uint8Array(await sha256(verifier))));
  url.searchParams.append("code_challenge_method", "S256");
  return json({ auth_url: url.href, expires_at: begun.expires_at });
}

export default serve("zoom-oauth-start", handle);
