/** Invite links: the address of this page with the code of a session. */
import { button, h, icon, announce } from "./dom.js";
import { copyWhenReady } from "./clipboard.js";

/** The link as this page takes it. A new session comes with an `invite_url`, which leads where the operator says. */
export function inviteLink({ invite_url, share_code }) {
  if (invite_url) return invite_url;
  const link = new URL("./", document.baseURI);
  link.searchParams.set("share_code", share_code);
  return link.href;
}

/** A code in groups that can be read out. The back end takes it with and without dashes. */
export function readable(code) {
  return code.match(/.{1,4}/g).join("-");
}

/** The code in what somebody typed or pasted: the code itself, or a whole link. */
export function codeIn(text) {
  const trimmed = text.trim();
  try {
    return new URL(trimmed).searchParams.get("share_code") ?? trimmed;
  } catch {
    return trimmed;
  }
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
