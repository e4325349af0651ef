/** Made from the code beside it. Do not edit. */
/** Links that open the app: an invitation, or the way back from Zoom. The app's scheme and `https` are read alike. */
/**
 * What a link means; null for a link that is not one of ours.
 * @param {string} url
 * @returns {import("./types.js").Link | null}
 */
export function readLink(url: string): import("./types.js").Link | null;
/**
 * The link that invites: the address that takes invitations, with the code behind `#`, which no server and no `Referer`
 * sees.
 * @param {string} inviteUri such as `https://app.example/join` or `myapp://video/join`
 * @param {string} shareCode
 */
export function inviteLink(inviteUri: string, shareCode: string): string;
