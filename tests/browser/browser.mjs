/**
 * Chromium, watched: whatever a page logs as an error, asks of another machine or shows inaccessibly is collected, and
 * fails the run.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import axe from "axe-core";
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // What is not this machine has no address.
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/** A phone, in a time zone that nobody's server is in. */
const PHONE = {
  viewport: { width: 360, height: 700 },
  deviceScaleFactor: 1,
  isMobile: true,
  hasTouch: true,
  locale: "en-GB",
  timezoneId: "America/New_York",
  reducedMotion: "reduce",
};

export class Browser {
  /** @param directories where pictures go: `screenshots` those that were asked for, `failures` those of a failure */
  static async launch(executablePath, directories) {
    const browser = await chromium.launch({ executablePath, args: FLAGS, timeout: 60_000 });
    for (const directory of Object.values(directories)) fs.mkdirSync(directory, { recursive: true });
    return new Browser(browser, directories);
  }

  #browser;
  #directories;
  #people = [];
  /** What went wrong besides what a step waited for. */
  problems = [];

  constructor(browser, directories) {
    this.#browser = browser;
    this.#directories = directories;
  }

  /** Somebody with a browser of their own. What participants are sent is recorded without a gap. */
  async person(name, options) {
    const context = await this.#browser.newContext(PHONE);
    context.setDefaultTimeout(20_000);
    const person = new Person(name, context, this, options);
    await person.watch();
    this.#people.push(person);
    return person;
  }

  /** Takes a picture of what a page shows now. */
  async picture(page, name, colorScheme = "light") {
    await page.bringToFront();
    await page.evaluate(() => window.scrollTo(0, 0));
    await page.emulateMedia({ colorScheme });
    await take(page, path.join(this.#directories.screenshots, `${name}.png`));
    await page.emulateMedia({ colorScheme: "light" });
  }

  /** Looks at a page in both colour schemes as somebody with a disability would find it. */
  async accessible(page, state) {
    // Chromium spares itself the styles of a page in the background.
    await page.bringToFront();
    for (const colorScheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme });
      // Drawn in these colours, all of it.
      await page.evaluate(async () => {
        for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
      });
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
      for (const { id, impact, help, nodes } of violations) {
        const places = nodes.map(({ target, failureSummary }) => `${target}: ${failureSummary}`).join("\n");
        this.problems.push(`axe, ${state}, ${colorScheme}: ${impact} ${id} (${help})\n${places}`);
      }
    }
  }

  /** Pictures of everything that is open, for whoever has to find out what happened. */
  async lastPictures() {
    for (const { name, context } of this.#people) {
      for (const [index, page] of context.pages().entries()) {
        await take(page, path.join(this.#directories.failures, `${name}-${index}.png`)).catch(() => {});
      }
    }
  }

  async close() {
    await this.#browser.close();
  }
}

function take(page, file) {
  return page.screenshot({ path: file, animations: "disabled", caret: "hide" });
}

class Person {
  #browser;
  #participant;
  #expected = [];
  /** Every body that this person's browser was sent, as text, with its address. */
  received = [];
  #loaded = [];

  constructor(name, context, browser, { participant = false } = {}) {
    this.name = name;
    this.context = context;
    this.#browser = browser;
    this.#participant = participant;
  }

  async watch() {
    const problem = (text) => this.#browser.problems.push(`${this.name}: ${text}`);
    this.context.on("weberror", (error) => problem(`uncaught ${error.error().stack}`));
    this.context.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return;
      const text = `${message.text()} ${message.location().url}`;
      const expected = this.#expected.findIndex((pattern) => pattern.test(text));
      if (expected >= 0) this.#expected.splice(expected, 1);
      else problem(`console ${message.type()}: ${text}`);
    });
    this.context.on("request", (request) => {
      const { protocol, hostname } = new URL(request.url());
      if (/^(http|ws)/.test(protocol) && hostname !== "127.0.0.1") problem(`asked for ${request.url()}`);
    });
    this.context.on("requestfinished", (request) => this.#loaded.push(request.url()));
    // All traffic passes here, so that no body escapes the search for secrets.
    await this.context.route("**/*", async (route) => {
      const url = route.request().url();
      if (new URL(url).hostname !== "127.0.0.1") return route.abort();
      try {
        const response = await route.fetch({ maxRedirects: 0 });
        this.received.push({ url, body: await response.text() });
        if (this.#participant && response.headers().location)
          await this.#record(new URL(response.headers().location, url).href);
        await route.fulfill({ response });
      } catch (error) {
        // The page has gone on, or the browser was closed.
        if (!/closed|disposed|Target|already handled|navigat/i.test(String(error))) problem(`${url}: ${error}`);
      }
    });
  }

  /** Where a redirect leads is out of a route's sight: it is read once more. Participants' ones lead to files only. */
  async #record(url) {
    const answer = await fetch(url);
    this.received.push({ url, body: await answer.text() });
  }

  /** A refusal that the next step is about: Chromium logs each as an error. */
  expectRefusal(status, address) {
    this.#expected.push(new RegExp(`status of ${status} .*${address}`));
  }

  assertRefused() {
    assert.deepEqual(this.#expected, [], `${this.name}: refusals that did not come`);
  }

  /** Makes sure that nothing was sent past the record. */
  assertRecordIsWhole() {
    const recorded = new Set(this.received.map(({ url }) => url));
    assert.deepEqual(
      this.#loaded.filter((url) => !recorded.has(url)),
      [],
      `${this.name}: not recorded`,
    );
  }

  async page() {
    return this.context.newPage();
  }

  async grantClipboard(origin) {
    await this.context.grantPermissions(["clipboard-read", "clipboard-write"], { origin });
  }
}

/**
 * What a page goes through when its tab is left and come back to. Headless Chromium calls every tab visible, so that
 * these are the events without the tabs.
 */
export async function leaveAndComeBack(page) {
  await page.evaluate(() => {
    for (const state of ["hidden", "visible"]) {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }
  });
}
