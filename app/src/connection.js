/** The connection card: a host's Zoom account, in one of three states. */
import { sessions } from "./service.js";
import { button, h, icon, show } from "./dom.js";
import { confirmInSheet } from "./sheet.js";
import { troubleSlot } from "./trouble.js";
import { leftAtZoomInWords, reasonInWords, returnInWords } from "./words.js";

/**
 * @param refresh reads the connection again
 * @param createWithOwnLink opens the way round Zoom
 */
export function connectionCard({ refresh, createWithOwnLink }) {
  const body = h("div", { class: "connection-body" });
  const trouble = troubleSlot();
  let unread = false;
  const element = h("section", { class: "card connection", "aria-label": "Zoom connection" }, body, trouble.element);

  /** Leaves for Zoom's consent page, which leads back here. */
  const connect = (event) =>
    trouble.around(null, event.currentTarget, "Opening Zoom…", async () => {
      location.assign(await sessions.startConnecting());
      // The page is about to go: until then the button stays busy.
      await new Promise((resolve) => addEventListener("pageshow", resolve, { once: true }));
    });

  const askToDisconnect = () =>
    confirmInSheet({
      title: "Disconnect Zoom?",
      text: `This app gives up its access to your Zoom account. Planned sessions stay in Zoom, but you cannot start them
        from here, and what you change here does not reach Zoom, until you connect this account again.`,
      keep: "Stay connected",
      act: "Disconnect",
      acting: "Disconnecting…",
      run: async () => {
        const { left_at_zoom } = await sessions.disconnect();
        await refresh();
        const sentence = leftAtZoomInWords(left_at_zoom);
        if (sentence) trouble.tell({ title: "Zoom does not know of everything", sentence });
      },
      done: "Zoom is disconnected.",
    });

  const disconnectButton = () =>
    button({ class: "quiet small", "data-focus": "disconnect", onclick: askToDisconnect }, "Disconnect");

  const states = {
    not_connected: () => [
      headline(
        "video",
        "neutral",
        "Connect your Zoom account",
        "Sessions are meetings in your own Zoom account. Connect it once to create and start them.",
      ),
      h(
        "div",
        { class: "actions" },
        button({ class: "primary", "data-focus": "connect", onclick: connect }, "Connect Zoom"),
        button({ class: "quiet", "data-focus": "own-link", onclick: createWithOwnLink }, "Use my own link instead"),
      ),
    ],
    connected: ({ zoom_account_email }) => [
      headline("check", "good", "Zoom is connected", zoom_account_email),
      h("div", { class: "actions" }, disconnectButton()),
    ],
    expired: ({ reason, zoom_account_email }) => [
      headline("alert", "warn", "Your Zoom connection has ended", reasonInWords(reason), zoom_account_email),
      h(
        "div",
        { class: "actions" },
        button({ class: "primary", "data-focus": "connect", onclick: connect }, "Reconnect Zoom"),
        disconnectButton(),
      ),
    ],
    loading: () =>
      h("div", { class: "skeleton", "aria-hidden": "true" }, h("i", { class: "round" }), h("i", { class: "lines" })),
  };

  return {
    element,
    /** Shows a connection as zoom_connection() gives it; undefined while it is not known. */
    update(connection) {
      element.setAttribute("aria-busy", String(!connection));
      element.dataset.state = connection?.state ?? "loading";
      show(body, connection ?? { state: "loading" }, (known) => states[known.state](known));
      if (unread) trouble.clear();
      unread = false;
    },
    /** Says that the connection could not be read. What was read before stays. */
    report(error) {
      unread = true;
      trouble.report(error, refresh);
      if (element.dataset.state === "loading") show(body, "unknown", () => []);
    },
    /** Says that the connection could not be completed. `again` tries once more, where that makes sense. */
    failed(error, again) {
      trouble.report(error, error.code === "connection_not_confirmable" ? undefined : again);
    },
    /** Says how connecting went, by the code that the way back from Zoom carries. */
    returned(code) {
      const [title, sentence] = returnInWords(code);
      trouble.tell({ title, sentence });
    },
    /** Connects from elsewhere on the page, also another account in place of the one that is connected. */
    connect() {
      const own = element.querySelector("[data-focus=connect]");
      if (own) own.click();
      else sessions.startConnecting().then((address) => location.assign(address), trouble.report);
    },
  };
}

function headline(picture, tone, title, text, more) {
  return h(
    "div",
    { class: "headline" },
    h("div", { class: `badge ${tone}` }, icon(picture)),
    h("div", {}, h("h2", {}, title), h("p", { class: "soft" }, text), more ? h("p", { class: "soft" }, more) : null),
  );
}
