/** Invite links: the address of this page with the code of a session. */
import { inviteLink as linkTo, readLink } from "../../clients/typescript/index.js";
import { button, h, icon, announce } from "./dom.js";
import { copyWhenReady } from "./clipboard.js";

/** The link, in one form everywhere: this page's `join`. */
export function inviteLink(session) {
  const { share_code } = session.invite ?? session;
  return linkTo(new URL("join/", document.baseURI).href, share_code);
}

/** A code in groups that can be read out. The back end takes it with and without dashes. */
export function readable(code) {
  return code.match(/.{1,4}/g).join("-");
}

/** The code in what somebody typed or pasted: the code itself, or a whole link. */
export function codeIn(text) {
  const trimmed = text.trim();
  const link = readLink(trimmed);
  return link?.kind === "invite" ? link.shareCode : trimmed;
}

export async function copyLink(link, what = "The invite link") {
  const copied = await copyWhenReady(link);
  announce(copied ? `${what} is copied.` : `${what} could not be copied. Select it and copy it by hand.`, {
    visibly: true,
  });
}

/** A link to look at, with buttons that copy it and, where the device can, share it. */
export function linkField(link, title, label = "Invite link") {
  const text = h("input", {
    class: "link-text",
    readonly: true,
    value: link,
    "aria-label": label,
    onfocus: () => text.select(),
  });
  const share = () => navigator.share({ title, url: link }).catch(() => {});
  return h(
    "div",
    { class: "link-field" },
    text,
    button(
      { class: "secondary small", onclick: () => copyLink(link, label === "Invite link" ? undefined : "The link") },
      icon("link"),
      "Copy",
    ),
    navigator.share ? button({ class: "secondary small", onclick: share }, "Share") : null,
  );
}
