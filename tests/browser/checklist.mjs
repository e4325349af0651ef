/**
 * The manual checklist, played by a browser against the local stack. tests/tests/web/web_client.rs runs it; the
 * environment says where things are: APP_URL, SECRET_KEY, ZOOM_URL, CHROME, SCREENSHOTS and FAILURES (directories for
 * pictures) and RECEIVED (a file that all bodies go to which participants were sent).
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { Browser, leaveAndComeBack } from "./browser.mjs";
import { Zoom } from "./zoom.mjs";

const { APP_URL, SECRET_KEY, ZOOM_URL, CHROME, SCREENSHOTS, FAILURES, RECEIVED } = process.env;
const ZOOM_USER = "trainer@zoom.test";
const HOUR = 3_600_000;

const zoom = new Zoom(ZOOM_URL);
const browser = await Browser.launch(CHROME, { screenshots: SCREENSHOTS, failures: FAILURES });
const trainer = await browser.person("trainer");
const participants = [];
await trainer.grantClipboard(APP_URL);
const host = await trainer.page();

/** What the database says, to nobody but us. */
async function database(query) {
  const answer = await fetch(`${APP_URL}/rest/v1/${query}`, { headers: { apikey: SECRET_KEY } });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

/** What time or Zoom would change, changed by nobody but us. */
async function change(query, changes) {
  const headers = { apikey: SECRET_KEY, "content-type": "application/json" };
  const patch = { method: "PATCH", headers, body: JSON.stringify(changes) };
  const answer = await fetch(`${APP_URL}/rest/v1/${query}`, patch);
  assert.equal(answer.status, 204, await answer.text());
}

async function signIn(page, name) {
  await page.getByRole("button", { name, exact: true }).tap();
  await page.getByRole("button", { name: "Sign in" }).tap();
  await page.getByRole("tab", { name: "Upcoming" }).waitFor();
  await page.locator("[role=tabpanel][aria-busy=false]").waitFor();
}

/** A client with a phone of their own, signed in. */
async function participant(name, address = APP_URL, refusal = null) {
  const person = await browser.person(name, { participant: true });
  participants.push(person);
  if (refusal) person.expectRefusal(...refusal);
  const page = await person.page();
  await page.goto(address);
  await signIn(page, name);
  return { person, page };
}

const tab = (page, name) => page.getByRole("tab", { name }).tap();
const card = (page, title) =>
  page.getByRole("listitem").filter({ has: page.getByRole("heading", { name: title, exact: true }) });
const newSession = host.getByRole("button", { name: "New session" });
const connection = (page, title) =>
  page.getByRole("region", { name: "Zoom connection" }).getByRole("heading", { name: title });

/** Decides on Zoom's consent page, and comes back by the return page. */
async function decide(page, decision) {
  await page.waitForURL(`${ZOOM_URL}/**`);
  await page.getByRole("radio", { name: ZOOM_USER }).check();
  const returnPage = page.waitForResponse((response) =>
    response.url().startsWith(`${APP_URL}/functions/v1/zoom-oauth-callback`),
  );
  await page.getByRole("button", { name: decision }).tap();
  const address = (await returnPage).url();
  await page.waitForURL((url) => url.origin === APP_URL && url.pathname === "/");
  assert.equal(new URL(page.url()).search, "", "what the address brought is taken away");
  return address;
}

/** The return page by itself: its way on leads nowhere, so that it stays. */
async function lookAtReturnPage(address, heading) {
  const page = await trainer.page();
  await page.route(
    (url) => url.origin === APP_URL && url.pathname === "/",
    (route) => route.fulfill({ status: 204 }),
  );
  await page.goto(address, { waitUntil: "commit" });
  await page.getByRole("heading", { name: heading }).waitFor();
  await browser.accessible(page, `return page: ${heading}`);
  await page.close();
}

const steps = {
  async "1. Connect: deny, then allow"() {
    await host.goto(APP_URL);
    await host.getByRole("button", { name: "Sign in" }).waitFor();
    await browser.accessible(host, "signed out");

    trainer.expectRefusal(400, "/auth/v1/token");
    await host.getByLabel("Email").fill("trainer@demo.test");
    await host.getByLabel("Password").fill("guess");
    await host.getByRole("button", { name: "Sign in" }).tap();
    await host.getByRole("alert").getByText("Wrong email or password.").waitFor();
    await browser.accessible(host, "sign-in refused");
    trainer.assertRefused();

    await signIn(host, "trainer");
    await connection(host, "Connect your Zoom account").waitFor();
    assert.ok(await newSession.isDisabled());
    await browser.accessible(host, "not connected");
    await browser.picture(host, "not-connected");

    await host.getByRole("button", { name: "Connect Zoom" }).tap();
    trainer.expectRefusal(400, "/zoom-oauth-callback");
    const denied = await decide(host, "Deny");
    await host.getByRole("alert").getByText("You did not allow the connection.").waitFor();
    await connection(host, "Connect your Zoom account").waitFor();
    assert.ok(await newSession.isDisabled());
    await browser.accessible(host, "denied");
    trainer.assertRefused();
    trainer.expectRefusal(400, "/zoom-oauth-callback");
    await lookAtReturnPage(denied, "Zoom is not connected");
    trainer.assertRefused();

    await host.getByRole("button", { name: "Connect Zoom" }).tap();
    const allowed = await decide(host, "Allow");
    await connection(host, "Zoom is connected").waitFor();
    await host.getByText(ZOOM_USER).waitFor();
    await host.getByRole("status").getByText("Zoom is connected.").waitFor();
    assert.ok(await newSession.isEnabled());
    await lookAtReturnPage(allowed, "Almost connected");
  },

  async "2. Reconnect after the connection has expired"() {
    await zoom.revoke(ZOOM_USER);
    await newSession.tap();
    const sheet = host.getByRole("dialog", { name: "New session" });
    await sheet.getByLabel("Title").fill("Too early");
    trainer.expectRefusal(403, "/create-session");
    await sheet.getByRole("button", { name: "Create session" }).tap();
    await sheet.getByRole("alert").getByText("Your Zoom connection has ended. Reconnect Zoom and try again.").waitFor();
    await browser.accessible(host, "create refused");
    trainer.assertRefused();
    // What was typed in is not thrown away unasked.
    await sheet.getByRole("button", { name: "Close" }).tap();
    const question = host.getByRole("dialog", { name: "Discard what you entered?" });
    await question.waitFor();
    await browser.accessible(host, "asks before it discards");
    await question.getByRole("button", { name: "Keep editing" }).tap();
    assert.equal(await sheet.getByLabel("Title").inputValue(), "Too early");
    await host.keyboard.press("Escape");
    await question.getByRole("button", { name: "Discard" }).tap();
    await sheet.waitFor({ state: "detached" });
    await connection(host, "Your Zoom connection has ended").waitFor();
    assert.ok(await newSession.isDisabled());
    await browser.accessible(host, "expired");
    await browser.picture(host, "expired", "dark");

    await host.getByRole("button", { name: "Reconnect Zoom" }).tap();
    await decide(host, "Allow");
    await connection(host, "Zoom is connected").waitFor();
    await create("It works again", { people: "2" });
    await tab(host, "Upcoming");
    await details(host, "It works again", "Cancel session");
    await host.getByRole("dialog").getByRole("button", { name: "Cancel session" }).tap();
    await host.getByText("No sessions planned").waitFor();
  },

  async "3. Disconnect"() {
    await create("Zoom will not hear of it", { people: "2" });
    await zoom.failAt("delete_meeting");
    await tab(host, "Upcoming");
    await details(host, "Zoom will not hear of it", "Cancel session");
    await host.getByRole("dialog").getByRole("button", { name: "Cancel session" }).tap();
    await tab(host, "Past");
    await card(host, "Zoom will not hear of it").getByText("Its meeting is still open in Zoom").waitFor();
    await host.getByRole("button", { name: "Disconnect" }).tap();
    const sheet = host.getByRole("dialog", { name: "Disconnect Zoom?" });
    await sheet.waitFor();
    await browser.accessible(host, "asks before it disconnects");
    await sheet.getByRole("button", { name: "Disconnect" }).tap();
    await connection(host, "Connect your Zoom account").waitFor();
    await host.getByRole("alert").getByText("1 meeting is still open there.").waitFor();
    await browser.accessible(host, "what Zoom was not told");
    await zoom.withdrawFaults();
    assert.ok(await newSession.isDisabled());
    assert.deepEqual(await database("user_integrations_zoom?select=user_id"), [], "no tokens are left");
    const { tokens } = await zoom.state();
    assert.ok(tokens.length > 0 && tokens.every(({ status }) => status !== "live"), JSON.stringify(tokens));

    await host.getByRole("button", { name: "Connect Zoom" }).tap();
    await decide(host, "Allow");
    await connection(host, "Zoom is connected").waitFor();
  },

  async "4. Create, with the invite link on the clipboard"() {
    await newSession.tap();
    const sheet = host.getByRole("dialog");
    await sheet.getByRole("heading", { name: "New session" }).waitFor();
    await browser.accessible(host, "create sheet");
    await sheet.getByRole("button", { name: "Create session" }).tap();
    await sheet.getByText("The title must not be empty.").waitFor();
    assert.equal(
      await host.evaluate(() => document.activeElement.id),
      "title",
      "the first field in need has the focus",
    );
    await browser.accessible(host, "create sheet, refused");

    assert.deepEqual(await choices(sheet, "Length"), ["30 min", "45 min", "60 min"]);
    assert.deepEqual(await choices(sheet, "People, you included"), ["2", "3", "4", "5"]);
    await sheet.getByLabel("Title").fill("Weekly check-in");
    await sheet.getByLabel("Date").fill(localDay(2));
    await sheet.getByLabel("Time").fill("17:30");
    await sheet.getByRole("radio", { name: "45 min" }).check();
    await sheet.getByRole("radio", { name: "5", exact: true }).check();
    await browser.picture(host, "create");
    await sheet.getByRole("checkbox", { name: "client1@demo.test" }).check();
    await sheet.getByText("3 of 4 seats free").waitFor();
    // Twice, as impatient people do.
    await sheet.getByRole("button", { name: "Create session" }).dblclick();
    await sheet.getByRole("heading", { name: "Session created" }).waitFor();
    await sheet.getByText("The invite link is copied.").waitFor();
    await browser.accessible(host, "created");
    await browser.picture(host, "created");

    const [session, ...others] = await database("video_sessions?status=eq.scheduled");
    assert.deepEqual(others, [], "two taps, one session");
    assert.equal((await zoom.state()).meetings.filter(({ topic }) => topic === "Weekly check-in").length, 1);
    assert.equal(
      new Date(session.scheduled_start).toLocaleString("sv", { timeZone: "America/New_York" }),
      `${localDay(2)} 17:30:00`,
    );
    assert.deepEqual(
      [session.timezone, session.duration_minutes, session.max_participants],
      ["America/New_York", 45, 5],
    );
    invitation = await host.evaluate(() => navigator.clipboard.readText());
    const [{ share_code }] = await database(`video_session_invites?session_id=eq.${session.id}`);
    assert.equal(new URL(invitation).hash, `#share_code=${share_code}`);
    checkIn = { ...session, share_code };

    calendarEntry = await calendarFile(() => sheet.getByRole("button", { name: "Add to calendar" }).tap());
    assert.equal(calendarEntry.get("SUMMARY"), "Weekly check-in");
    assert.equal(calendarEntry.get("DTSTART"), compact(session.scheduled_start));
    assert.equal(calendarEntry.get("DURATION"), "PT45M");
    assert.equal(calendarEntry.get("TRIGGER"), "-PT10M");
    assert.equal(calendarEntry.get("URL"), `${APP_URL}/`);
    assert.ok(!JSON.stringify([...calendarEntry]).includes("pwd="), "a calendar that others see holds no passcode");
    const end = compact(new Date(new Date(session.scheduled_start).getTime() + 45 * 60_000));
    const google = new URL(await sheet.getByRole("link", { name: "Google" }).getAttribute("href"));
    assert.equal(google.searchParams.get("dates"), `${compact(session.scheduled_start)}/${end}`);
    const outlook = new URL(await sheet.getByRole("link", { name: "Outlook" }).getAttribute("href"));
    assert.equal(compact(outlook.searchParams.get("startdt")), compact(session.scheduled_start));
    assert.equal(compact(outlook.searchParams.get("enddt")), end);

    await sheet.getByRole("button", { name: "Done" }).tap();
    await tab(host, "Upcoming");
    await card(host, "Weekly check-in").getByText("17:30").waitFor();
    await create("Short talk", { people: "2" });
    await create("Open room", { link: "https://meet.example/room" });
    await card(host, "Open room").waitFor();
    await browser.accessible(host, "upcoming");
    await browser.picture(host, "upcoming");

    await tab(host, "Links");
    await card(host, "Weekly check-in").getByRole("button", { name: "Copy" }).tap();
    await host.getByRole("status").getByText("The invite link is copied.").waitFor();
    const copied = new URL(await host.evaluate(() => navigator.clipboard.readText()));
    assert.equal(copied.hash, `#share_code=${share_code}`);
    await browser.accessible(host, "links");
  },

  async "5. Join: by the list, by link, by code; a sixth person is refused kindly"() {
    client = await participant("client1");
    const join = card(client.page, "Weekly check-in").getByRole("link", { name: "Join" });
    const [meeting] = await Promise.all([client.page.waitForEvent("popup"), join.tap()]);
    await meeting.waitForURL(checkIn.join_url);
    await meeting.getByText("You are in the waiting room.").waitFor();
    assert.equal(await meeting.evaluate(() => window.opener), null);
    await meeting.close();
    await browser.accessible(client.page, "a client's sessions");
    await browser.picture(client.page, "client", "dark");

    // By the invite link, on a phone that is not signed in yet.
    const second = await participant("client2", invitation);
    const invited = second.page.getByRole("dialog", { name: "You are invited" });
    await invited.getByText("invites you to “Weekly check-in”.").waitFor();
    // A reload does not lose it.
    await second.page.reload();
    await invited.getByText("17:30").waitFor();
    await invited.getByText("3 seats are left").waitFor();
    await browser.accessible(second.page, "invited");
    await browser.picture(second.page, "invited");
    await invited.getByRole("button", { name: "Join session" }).tap();
    await card(second.page, "Weekly check-in").waitFor();
    // The link again: there is nothing more to join.
    await second.page.goto(invitation);
    await invited.getByText("You have one already").waitFor();
    await invited.getByRole("button", { name: "Show session" }).tap();
    await invited.waitFor({ state: "detached" });

    // By code, as it is read out: with dashes, in lower case.
    const spoken = checkIn.share_code.match(/.{4}/g).join("-").toLowerCase();
    for (const name of ["client3", "client4"]) {
      const { page } = await participant(name);
      await joinByCode(page, spoken);
      await card(page, "Weekly check-in").waitFor();
      lastToJoin = page;
    }

    const sixth = await participant("client5");
    sixth.person.expectRefusal(404, "/join-session");
    await joinByCode(sixth.page, spoken);
    await sixth.page.getByRole("alert").getByText("is full").waitFor();
    await browser.accessible(sixth.page, "refused a seat");
    sixth.person.assertRefused();

    // Somebody leaves, and there is a seat again.
    await card(lastToJoin, "Weekly check-in").getByRole("button", { name: "More about" }).tap();
    await browser.accessible(lastToJoin, "details, for a client");
    await lastToJoin.getByRole("button", { name: "Leave session" }).tap();
    await lastToJoin
      .getByRole("dialog", { name: "Leave this session?" })
      .getByRole("button", { name: "Leave session" })
      .tap();
    await lastToJoin.getByText("No sessions planned").waitFor();
    await browser.accessible(lastToJoin, "nothing planned");
    await sixth.page.getByRole("button", { name: "Join session" }).tap();
    await card(sixth.page, "Weekly check-in").waitFor();
    const itsCode = "title=eq.Short%20talk&select=invite:video_session_invites(share_code)";
    const [talk] = await database(`video_sessions?${itsCode}`);
    await joinByCode(client.page, talk.invite.share_code);
    await card(client.page, "Short talk").waitFor();

    // A link that went too far: the host makes a new one, and the old one leads nowhere.
    await tab(host, "Upcoming");
    await details(host, "Weekly check-in", "Make a new link");
    const renew = host.getByRole("dialog", { name: "Make a new invite link?" });
    await browser.accessible(host, "asks before it makes a new link");
    await renew.getByRole("button", { name: "Make a new link" }).tap();
    await host.getByRole("status").getByText("There is a new invite link.").waitFor();
    const stranger = await participant("client6", invitation, [404, "/join-session"]);
    const refused = stranger.page.getByRole("dialog", { name: "You are invited" });
    await refused.getByRole("alert").waitFor();
    await browser.accessible(stranger.page, "an old link");
    stranger.person.assertRefused();
  },

  async "6. No participant can see a start URL"() {
    await tab(host, "Upcoming");
    const start = card(host, "Weekly check-in").getByRole("button", { name: "Start" });
    // It begins in two days: the page asks first.
    await start.tap();
    const early = host.getByRole("dialog", { name: "Open it now?" });
    await early.getByText("This begins on").waitFor();
    await browser.accessible(host, "asks before it opens early");
    const openNow = early.getByRole("button", { name: "Open it now" });
    const [opened] = await Promise.all([host.waitForEvent("popup"), openNow.tap()]);
    await opened.waitForURL(/zak=/);
    await opened.getByText("You are the host.").waitFor();
    assert.equal(await opened.evaluate(() => window.opener), null);
    meetingAsHost = opened;
    const kept = await host.evaluate(
      () =>
        document.documentElement.outerHTML +
        JSON.stringify([{ ...localStorage }, { ...sessionStorage }, history.state]),
    );
    assert.ok(!kept.includes("zak="), "the host's page keeps no start URL");

    // A participant who asks for it by hand, with the own token.
    client.person.expectRefusal(403, "/start-session");
    const asked = await client.page.evaluate(async (sessionId) => {
      const { supabase_url, publishable_key } = await (await fetch("/config.json")).json();
      const { access_token } = JSON.parse(
        Object.entries(sessionStorage).find(([name]) => name.endsWith("-auth-token"))[1],
      );
      const ask = async (path, body) => {
        const headers = {
          apikey: publishable_key,
          authorization: `Bearer ${access_token}`,
          "content-type": "application/json",
        };
        const answer = await fetch(`${supabase_url}${path}`, {
          method: body ? "POST" : "GET",
          headers,
          body: body && JSON.stringify(body),
        });
        return [answer.status, await answer.json()];
      };
      return {
        meta: await ask("/rest/v1/video_session_host_meta?select=*"),
        embedded: await ask("/rest/v1/video_sessions?select=*,video_session_host_meta(*)"),
        everything: await ask("/rest/v1/video_sessions?select=*"),
        start: await ask("/functions/v1/start-session", { session_id: sessionId }),
      };
    }, checkIn.id);
    client.person.assertRefused();
    assert.deepEqual(asked.meta, [200, []]);
    assert.equal(asked.start[0], 403);
    assert.equal(asked.start[1].code, "not_the_host");
    assert.ok(
      asked.everything[1].length === 2 &&
        asked.embedded[1].every((session) => !session.video_session_host_meta?.host_start_url),
    );
  },

  async "7. The host edits and cancels; the client sees it on coming back"() {
    await details(host, "Weekly check-in", "Edit");
    const sheet = host.getByRole("dialog", { name: "Edit session" });
    await sheet.waitFor();
    await browser.accessible(host, "edit sheet");
    await sheet.getByLabel("Title").fill("Monthly check-in");
    await sheet.getByRole("radio", { name: "60 min" }).check();
    await sheet.getByRole("button", { name: "Save changes" }).tap();
    await card(host, "Monthly check-in").getByText("60 min").waitFor();
    // In the calendar, too, it is the same entry.
    const updated = await calendarFile(() => details(host, "Monthly check-in", "Add to calendar"));
    assert.equal(updated.get("UID"), calendarEntry.get("UID"));
    assert.ok(Number(updated.get("SEQUENCE")) > Number(calendarEntry.get("SEQUENCE")), "a later state of it");
    assert.deepEqual([updated.get("SUMMARY"), updated.get("DURATION")], ["Monthly check-in", "PT60M"]);
    await host.keyboard.press("Escape");

    await details(host, "Open room", "Edit");
    await sheet.getByLabel("Link", { exact: true }).fill("meet.example/another");
    await sheet.getByRole("button", { name: "Save changes" }).tap();
    await host.getByRole("status").getByText("The session is changed.").waitFor();
    const [room] = await database("video_sessions?title=eq.Open%20room&select=join_url");
    assert.equal(room.join_url, "https://meet.example/another");

    await details(host, "Short talk", "Cancel session");
    const question = host.getByRole("dialog", { name: "Cancel this session?" });
    await browser.accessible(host, "asks before it cancels");
    await question.getByRole("button", { name: "Cancel session" }).tap();
    await card(host, "Short talk").waitFor({ state: "detached" });

    await client.page.bringToFront();
    await leaveAndComeBack(client.page);
    await card(client.page, "Monthly check-in").getByText("60 min").waitFor();
    await card(client.page, "Short talk").waitFor({ state: "detached" });
    await tab(client.page, "Past");
    await card(client.page, "Short talk").getByText("Cancelled").waitFor();
    await browser.accessible(client.page, "past");
  },

  async "8. A test run leaves it planned; in its time it is on, interrupted, and past when Zoom has ended it"() {
    const inZoom = async (press, then) => {
      await meetingAsHost.bringToFront();
      await meetingAsHost.getByRole("button", { name: press }).tap();
      await meetingAsHost.getByRole("button", { name: then }).waitFor();
      await zoom.deliverEvents();
    };
    // Nobody comes back to the pages: they learn of it by themselves.
    await tab(host, "Ongoing");
    await tab(client.page, "Ongoing");
    await inZoom("Start", "End");
    const told = Date.now();
    const hears = async (page, text) => {
      await card(page, "Monthly check-in").getByText(text).waitFor();
      return Date.now() - told;
    };
    const heard = await Promise.all([hears(host, "On since"), hears(client.page, "On since")]);
    console.log(`  Shown without a reload after ${heard.join(" and ")} ms`);
    await browser.accessible(host, "ongoing");
    await browser.picture(host, "ongoing");
    await card(client.page, "Monthly check-in").getByRole("link", { name: "Join" }).waitFor();

    await inZoom("End", "Start");
    for (const page of [host, client.page]) {
      await page.getByText("Nothing is on right now").waitFor();
      await tab(page, "Upcoming");
      await card(page, "Monthly check-in").waitFor();
      await tab(page, "Ongoing");
    }
    await browser.accessible(host, "nothing is on");

    await change(`video_sessions?id=eq.${checkIn.id}`, { scheduled_start: new Date(Date.now() - 120_000) });
    await inZoom("Start", "End");
    await inZoom("End", "Start");
    await card(host, "Monthly check-in").getByText("Interrupted since").waitFor();
    await card(host, "Monthly check-in").getByRole("button", { name: "Start" }).waitFor();
    await card(client.page, "Monthly check-in").getByText("Interrupted since").waitFor();
    await card(client.page, "Monthly check-in").getByRole("link", { name: "Join" }).waitFor();
    await browser.accessible(host, "interrupted");

    await zoom.deleteMeeting(checkIn.provider_meeting_id);
    await zoom.deliverEvents();
    for (const page of [host, client.page]) {
      await page.getByText("Nothing is on right now").waitFor();
      await tab(page, "Past");
      await card(page, "Monthly check-in").getByText("Took place").waitFor();
    }
    await browser.accessible(host, "past, held");
  },

  async "9. By keyboard alone, and on a wide screen"() {
    const desk = await browser.person("nutritionist");
    const page = await desk.page();
    await page.setViewportSize({ width: 1100, height: 700 });
    await page.goto(APP_URL);
    await page.getByLabel("Email").fill("nutritionist@demo.test");
    await page.getByLabel("Password").fill("demo-password");
    await page.keyboard.press("Enter");
    await page.getByText("No sessions planned").waitFor();
    await page.getByRole("tab", { name: "Upcoming" }).focus();
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.evaluate(() => document.activeElement.id), "tab-links");
    const ownLink = page.getByRole("button", { name: "Use my own link instead" });
    await ownLink.focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog", { name: "New session" }).waitFor();
    await page.keyboard.press("Tab");
    assert.ok(
      await page.evaluate(() => document.querySelector("dialog").contains(document.activeElement)),
      "the focus stays in the sheet",
    );
    await browser.accessible(page, "create sheet on a wide screen");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.ok(await ownLink.evaluate((button) => button === document.activeElement), "the focus is back where it was");
    await browser.accessible(page, "wide screen");
  },

  async "10. A session whose answer never came is there once, after a reload"() {
    await host.bringToFront();
    // The first time it is done, and the answer is lost.
    const reached = new Promise((resolve, reject) => {
      const lose = (route) => route.fetch().then(resolve, reject);
      host.route("**/functions/v1/create-session", lose, { times: 1 }).catch(reject);
    });
    await newSession.tap();
    const sheet = host.getByRole("dialog", { name: "New session" });
    await sheet.getByLabel("Title").fill("Asked for once");
    await sheet.getByLabel("Date").fill(localDay(5));
    await sheet.getByRole("button", { name: "Create session" }).tap();
    await reached;
    // Leave the page, although the form is filled in.
    host.once("dialog", (question) => question.accept());
    await host.reload();
    await host.getByRole("status").getByText("“Asked for once” is created.").waitFor();
    await tab(host, "Upcoming");
    await card(host, "Asked for once").waitFor();
    assert.equal((await database("video_sessions?title=eq.Asked%20for%20once&select=id")).length, 1);
  },

  async "11. Nothing is wider than the screen, and nothing to tap lies outside of it"() {
    const word = "W".repeat(120);
    await change("video_sessions?title=eq.Asked%20for%20once", { title: word, description: word });
    await leaveAndComeBack(host);
    await card(host, word).waitFor();
    for (const [width, text] of [[375, 100], [320, 100], [375, 200], [768, 100], [1440, 100]]) {
      await host.setViewportSize({ width, height: 700 });
      await host.evaluate((percent) => (document.documentElement.style.fontSize = `${percent}%`), text);
      const where = `at ${width} pixels, text at ${text} %`;
      await fits(host, `the list ${where}`);
      for (const [open, name] of [
        [() => newSession.tap(), "New session"],
        [() => host.getByRole("button", { name: "Join by code" }).tap(), "Join by code"],
        [() => card(host, word).getByRole("button", { name: "More about" }).tap(), word],
      ]) {
        await open();
        const sheet = host.getByRole("dialog", { name });
        await sheet.waitFor();
        await fits(host, `${name.slice(0, 20)} ${where}`);
        if (name === word) {
          await sheet.getByRole("button", { name: "Cancel session" }).tap();
          const question = host.getByRole("dialog", { name: "Cancel this session?" });
          // As soon as the sheet has come up.
          const red = await question.getByRole("button", { name: "Cancel session" }).elementHandle();
          const isInSight = (button) => {
            const { left, right, top, bottom } = button.getBoundingClientRect();
            return left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight;
          };
          await host.waitForFunction(isInSight, red);
          await question.getByRole("button", { name: "Keep it" }).tap();
          await question.waitFor({ state: "detached" });
        } else {
          await host.keyboard.press("Escape");
          await sheet.waitFor({ state: "detached" });
        }
      }
    }
    await host.evaluate(() => (document.documentElement.style.fontSize = ""));
    await host.setViewportSize({ width: 360, height: 700 });
  },
};

let invitation, checkIn, calendarEntry, client, lastToJoin, meetingAsHost;

/** The texts of a group of radio buttons. */
async function choices(sheet, group) {
  return sheet.getByRole("group", { name: group }).locator("label").allInnerTexts();
}

/** The file that a tap saves, as names and values; a name's last value counts. */
async function calendarFile(tap) {
  const [file] = await Promise.all([host.waitForEvent("download"), tap()]);
  const lines = fs.readFileSync(await file.path(), "utf8").replace(/\r\n[ \t]/g, "").split("\r\n");
  return new Map(lines.map((line) => line.match(/^([A-Z-]+)[^:]*:(.*)$/)?.slice(1)).filter(Boolean));
}

/** Sees to it that a page needs no scrolling to the side, and nor does its sheet. */
async function fits(page, what) {
  const wide = await page.evaluate(() => {
    const all = [document.documentElement, ...document.querySelectorAll("dialog[open], dialog[open] *")];
    const isScrolled = (element) => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
    return all
      .filter((element) => element === document.documentElement || isScrolled(element) || element.matches("dialog"))
      .filter((element) => element.scrollWidth > element.clientWidth + 1)
      .map((element) => `${element.tagName}.${element.className}: ${element.scrollWidth} of ${element.clientWidth}`);
  });
  assert.deepEqual(wide, [], what);
}

/** An instant as calendars write it. */
function compact(instant) {
  return new Date(instant).toISOString().replace(/[-:]|\.\d{3}/g, "");
}

/** A day from now on, in the zone of these phones, as a date field takes it. */
function localDay(days) {
  return new Date(Date.now() + days * 24 * HOUR).toLocaleDateString("sv", { timeZone: "America/New_York" });
}

async function create(title, { people = "3", link } = {}) {
  await newSession.tap();
  const sheet = host.getByRole("dialog");
  await sheet.getByLabel("Title").fill(title);
  await sheet.getByLabel("Date").fill(localDay(link ? 4 : 3));
  await sheet.getByRole("radio", { name: people, exact: true }).check();
  if (link) {
    await sheet.getByRole("radio", { name: "My own link" }).check();
    await sheet.getByLabel("Link", { exact: true }).fill(link);
  }
  await sheet.getByRole("button", { name: "Create session" }).tap();
  await sheet.getByRole("button", { name: "Done" }).tap();
  await sheet.waitFor({ state: "detached" });
}

async function joinByCode(page, code) {
  await page.getByRole("button", { name: "Join by code" }).tap();
  await page.getByLabel("Code or invite link").fill(code);
  await page.getByRole("button", { name: "Join session" }).tap();
}

async function details(page, title, action) {
  await page.bringToFront();
  await card(page, title).getByRole("button", { name: "More about" }).tap();
  const sheet = page.getByRole("dialog", { name: title });
  await browser.accessible(page, `details of ${title}`);
  await sheet.getByRole("button", { name: action }).tap();
}

try {
  for (const [name, play] of Object.entries(steps)) {
    const begun = Date.now();
    await play();
    console.log(`${name}: ok, ${((Date.now() - begun) / 1000).toFixed(1)} s`);
  }
  for (const person of participants) person.assertRecordIsWhole();
  const received = participants.flatMap(({ name, received }) => received.map((one) => ({ name, ...one })));
  fs.writeFileSync(RECEIVED, JSON.stringify(received));
  assert.ok(
    trainer.received.some(({ body }) => body.includes("zak=")),
    "the host was sent one, so this search does find them",
  );
  const leaks = received
    .filter(({ body }) => body.includes("zak="))
    .map(({ name, url }) => `${name} was sent a start URL by ${url}`);
  assert.deepEqual([...browser.problems, ...leaks], []);
} catch (error) {
  await browser.lastPictures();
  for (const problem of browser.problems) console.log(problem);
  console.log(error.stack);
  process.exitCode = 1;
} finally {
  await browser.close();
}
