/**
 * Ten thousand sessions beside ten: how long the page takes to show its first card, to open the past and to show more
 * of it. tests/tests/web/web_client.rs runs it. The environment: APP_URL, CHROME, FAILURES (a directory for pictures).
 */
import assert from "node:assert/strict";
import { Browser } from "./browser.mjs";

const { APP_URL, CHROME, FAILURES } = process.env;
const ROUNDS = 5;
/** As many times longer as with ten sessions may anything take. */
const MOST = 2;

const browser = await Browser.launch(CHROME, { failures: FAILURES });

async function signedIn(name) {
  const person = await browser.person(name);
  const page = await person.page();
  await page.goto(APP_URL);
  await page.getByLabel("Email").fill(`${name}@demo.test`);
  await page.getByLabel("Password").fill("demo-password");
  await page.keyboard.press("Enter");
  await cards(page).first().waitFor();
  return page;
}

const cards = (page) => page.getByRole("listitem");

/** Milliseconds until there is a first card, until the past is open, and the cards that are in the page then. */
async function measure(page) {
  await page.bringToFront();
  const begun = performance.now();
  await page.reload({ waitUntil: "commit" });
  await cards(page).first().waitFor();
  const painted = performance.now();
  await page.getByRole("tab", { name: "Past" }).tap();
  await cards(page).getByText("Past").first().waitFor();
  return { paint: painted - begun, past: performance.now() - painted, cards: await cards(page).count() };
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

try {
  const [few, many] = [await signedIn("trainer"), await signedIn("nutritionist")];
  const measured = { few: [], many: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    measured.few.push(await measure(few));
    measured.many.push(await measure(many));
  }
  for (const what of ["paint", "past"]) {
    const [ten, thousands] = [measured.few, measured.many].map((all) => median(all.map((one) => one[what])));
    const ratio = thousands / ten;
    console.log(`  ${what}: ${ratio.toFixed(2)} times as long with 10,000 sessions as with ten`);
    assert.ok(ratio <= MOST, `${what}: ${ten} ms with ten, ${thousands} ms with ten thousand`);
  }
  // Down the list, page after page: each comes, and the last as fast as the first.
  const pages = [];
  for (let n = 0; n < 6; n += 1) {
    const before = await cards(many).count();
    const begun = performance.now();
    await cards(many).last().scrollIntoViewIfNeeded();
    await cards(many).nth(before).waitFor({ state: "attached" });
    pages.push(performance.now() - begun);
  }
  const ratio = median(pages.slice(3)) / median(pages.slice(0, 3));
  console.log(`  scrolling: a later page takes ${ratio.toFixed(2)} times as long as an earlier one`);
  assert.ok(measured.many[0].cards <= 100, `${measured.many[0].cards} cards at once`);
  assert.deepEqual(browser.problems, []);
} finally {
  await browser.close();
}
