/**
 * What the address of this page brought along: an invitation, or the way back from Zoom. It is taken out of the
 * address, and kept until it is dealt with, so that a sign-in or a reload in between loses nothing.
 */
import { readLink } from "../../clients/typescript/index.js";

const KEPT = "video-sessions-arrival";

/** Reads the address, once. */
export function arrive() {
  const link = readLink(location.href);
  if (!link) return;
  sessionStorage.setItem(KEPT, JSON.stringify(link));
  history.replaceState(null, "", location.pathname);
}

/** What has come and was not dealt with; null where nothing has. */
export function arrived() {
  return JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
}

/** It is dealt with. */
export function settleArrival() {
  sessionStorage.removeItem(KEPT);
}
