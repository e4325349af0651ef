/** Links that open the app: an invitation, or the way back from Zoom. The app's scheme and `https` are read alike. */

/**
 * What a link means; null for a link that is not one of ours.
 * @param {string} url
 * @returns {import("./types.js").Link | null}
 */
export function readLink(url) {
  const values = valuesOf(url);
  if (!values) return null;
  const code = values.get("share_code");
  if (code) return { kind: "invite", shareCode: code };
  if (values.has("success")) return { kind: "connected", handle: values.get("handle") ?? null };
  const refused = values.get("error");
  return refused ? { kind: "refused", code: refused } : null;
}

/**
 * The link that invites: the address that takes invitations, with the code behind `#`, which no server and no `Referer`
 * sees.
 * @param {string} inviteUri such as `https://app.example/join` or `myapp://video/join`
 * @param {string} shareCode
 */
export function inviteLink(inviteUri, shareCode) {
  return `${inviteUri.split("#", 1)[0]}#share_code=${encodeURIComponent(shareCode)}`;
}

/**
 * What stands in the query and behind `#`. Read by hand: React Native's `URL` cannot.
 * @param {string} url
 * @returns {Map<string, string> | null}
 */
function valuesOf(url) {
  if (!/^[a-z][a-z0-9+.-]*:/i.test(url)) return null;
  const [address, hash = ""] = url.split("#", 2);
  const query = address.slice(address.indexOf("?") + 1 || address.length);
  const values = new Map();
  for (const pair of [...query.split("&"), ...hash.split("&")]) {
    const [name, ...value] = pair.split("=");
    if (!values.has(name)) values.set(name, decoded(value.join("=")));
  }
  return values;
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text.replace(/\+/g, " "));
  } catch {
    return text;
  }
}
