/** The simulator's page: the product's own code in a browser takes the same way as in Node. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Depot, MUTANTS, runTrial } from "../../src/trial/index.ts";
import { browserMissing, startBrowser, WatchedPage } from "./browser.ts";
import { startHost } from "./harness.ts";

const SEED = 6;
const RULE = "stale-takes-part";
const SEEDS_MAX = 40;
const TRIAL_MS_MAX = 60_000;
const REAL_TIMES_MIN = 10;

/** A seed with which the missing rule is missed. */
async function failingSeed(): Promise<number> {
  const mutant = MUTANTS.find(({ name }) => name === RULE);
  const depot = new Depot();
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    const { failure } = await runTrial(seed, { depot, mutant });
    if (failure !== undefined) return seed;
  }
  return assert.fail(`${SEEDS_MAX} seeds do not miss the rule ${RULE}`);
}

test("a seed is replayed, dragged through time and shared", { skip: browserMissing }, async (t) => {
  const { api } = await startHost(t, "1G");
  const watched = await WatchedPage.open(await startBrowser(t), api);
  const { page } = watched;
  await watched.show("simulator");
  const offered = await page
    .getByRole("combobox", { name: /Leave out/ })
    .locator("option")
    .all();
  const values = await Promise.all(offered.map((option) => option.getAttribute("value")));
  assert.deepEqual(values, ["", ...MUTANTS.map(({ name }) => name)]);

  await page.getByLabel("Seed", { exact: true }).fill(String(SEED));
  await page.getByRole("button", { name: "Run" }).click();
  await page.getByText("No promise was broken").waitFor({ timeout: TRIAL_MS_MAX });
  assert.match(page.url(), new RegExp(`#/simulator/${SEED}$`));
  const here = await runTrial(SEED, { depot: new Depot() });
  const fingerprint = here.digest.toString(16).padStart(8, "0");
  await page.getByText(fingerprint, { exact: true }).waitFor();
  const speed = await page
    .getByText(/^\d+ ×$/)
    .first()
    .textContent();
  t.diagnostic(`${speed} real time in the browser`);
  assert.ok(Number.parseInt(speed ?? "", 10) >= REAL_TIMES_MIN, `${speed}`);

  await page.getByLabel("Moment of the trial").fill("0");
  await page.getByText("0.00 s of").waitFor();
  await page.getByLabel("Speed").selectOption("64");
  await page.getByRole("button", { name: "Play" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await page.getByLabel("Moment of the trial").fill("20000");
  await watched.checkAccess("the simulator");
  await watched.takePicture("trial");

  const seed = await failingSeed();
  await page.goto(`${api}/#/simulator/${encodeURIComponent(`${seed} ${RULE}`)}`);
  await page.getByText("fencing", { exact: true }).or(page.locator(".chip.bad")).first().waitFor({
    timeout: TRIAL_MS_MAX,
  });
  const missed = await page.locator(".card", { hasText: "What came of it" }).textContent();
  assert.doesNotMatch(missed ?? "", /No promise was broken/);
  watched.checkFaults();
});
