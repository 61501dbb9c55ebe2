/**
 * The drill's page: the cluster that runs is copied, a host fails there, and what was foreseen
 * happens.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import { browserMissing, startBrowser, WatchedPage } from "./browser.ts";
import { ClusterRun } from "./cluster-run.ts";
import { temporaryFolder } from "./harness.ts";

const RUN_MS_MAX = 60_000;
const PHONE = { width: 390, height: 844 };

test("failures are tried out on a copy of the cluster", { skip: browserMissing }, async (t) => {
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "cluster"));
  t.after(() => cluster.kill());
  await cluster.cli(1, ["volume", "create", "web1", "--size", "1G", "--failures-to-tolerate", "1"]);
  const browser = await startBrowser(t);
  const watched = await WatchedPage.open(browser, cluster.api(1));
  await t.test("nothing seems empty, and a copy is whole, before the volumes are told", () =>
    copyEarly(watched),
  );
  await t.test("the copy has its hosts and its volumes", () => copyCluster(watched));
  await t.test("what is foreseen for a host is what happens", () => tryFailure(watched, t));
  await t.test("a link takes the same way", () => share(watched));
  const phone = await WatchedPage.open(browser, cluster.api(1), { viewport: PHONE });
  await phone.page.goto(watched.page.url());
  await phone.page.getByText("No promise was broken").waitFor({ timeout: RUN_MS_MAX });
  await phone.checkAccess("a drill on a phone");
  await phone.takePicture("drill-phone");
  const width = await phone.page.evaluate<number>("document.documentElement.scrollWidth");
  assert.ok(width <= PHONE.width, `it is ${width} wide`);
  watched.checkFaults();
});

/** A slow host has told its status, and not yet what volumes there are. */
async function copyEarly(watched: WatchedPage): Promise<void> {
  const { page } = watched;
  let tell = (): void => {};
  const isTold = new Promise<void>((resolve) => {
    tell = resolve;
  });
  await page.route("**/v1/volumes", async (route) => {
    await isTold;
    await route.continue();
  });
  await watched.show("overview");
  await page.reload();
  await page.getByRole("link", { name: /Hosts 3 all reached/ }).waitFor();
  await page.getByRole("link", { name: /Volumes … asking the host/ }).waitFor();
  await page.getByRole("link", { name: "Volumes", exact: true }).click();
  await page.getByText("Asking the host…").waitFor();
  await watched.show("simulator");
  await page.getByRole("button", { name: "Copy this cluster" }).click();
  tell();
  await page.getByRole("cell", { name: "web1", exact: true }).waitFor({ timeout: RUN_MS_MAX });
  await page.unroute("**/v1/volumes");
}

async function copyCluster(watched: WatchedPage): Promise<void> {
  const { page } = watched;
  await watched.show("simulator");
  await page.getByRole("button", { name: "Copy this cluster" }).click();
  await page.getByText("No promise was broken").waitFor({ timeout: RUN_MS_MAX });
  await page.getByRole("cell", { name: "web1", exact: true }).waitFor();
  assert.equal(await page.locator(".drill-hosts li").count(), 3);
  await page.getByLabel("Moment of the trial").fill("5000");
  await page.getByLabel("Do to h2").selectOption("cut-storage");
  await page.getByText("h2: Cut its storage network").waitFor();
  await page.locator(".chip", { hasText: "storage cut" }).waitFor({ timeout: RUN_MS_MAX });
  await watched.checkAccess("a drill");
  await page.getByRole("button", { name: "Take back: h2, Cut its storage network" }).click();
  await page.locator(".chip", { hasText: "storage cut" }).waitFor({ state: "detached" });
}

/** With machines: five hosts and twenty of them. */
async function tryFailure(
  watched: WatchedPage,
  t: { diagnostic: (text: string) => void },
): Promise<void> {
  const { page } = watched;
  await watched.show("simulator");
  await page.getByRole("button", { name: "Begin with the example" }).click();
  const status = page.locator(".drill-status");
  await page.getByText("No promise was broken").waitFor({ timeout: RUN_MS_MAX });
  t.diagnostic(`at first: ${await status.textContent()}`);
  await page.getByLabel("Moment of the trial").fill("5000");
  await page.getByRole("button", { name: "What if h3 failed?" }).click();
  const foreseen = page.getByRole("group", { name: "Machines if h3 failed" });
  await foreseen.getByText("not tried yet").first().waitFor({ timeout: RUN_MS_MAX });
  await page.getByRole("button", { name: "Cut its power at 5.00 s and see" }).click();
  await foreseen
    .getByText(/^runs on/)
    .first()
    .waitFor({ timeout: RUN_MS_MAX });
  const rows = await foreseen.locator("tbody tr").all();
  assert.equal(rows.length, 4);
  for (const row of rows) {
    const [would, did] = await Promise.all(
      [1, 2].map((column) => row.locator("td").nth(column).textContent()),
    );
    const place = (text: string | null | undefined): RegExpExecArray | null =>
      /on (h\d) after ([\d.]+) s/.exec(text ?? "");
    assert.equal(place(did)?.[1], place(would)?.[1], `${would} and ${did}`);
    const [after, about] = [Number(place(did)?.[2]), Number(place(would)?.[2])];
    assert.ok(Math.abs(after - about) <= 0.2 * after, `${would} and ${did}`);
  }
  await page.getByLabel("Moment of the trial").fill("12000");
  await page.locator(".drill-hosts .silent", { hasText: "h3" }).waitFor();
  await watched.checkAccess("what was foreseen");
  await watched.takePicture("drill");
  t.diagnostic(`in between: ${await status.textContent()}`);
  // What is longer has its code compiled for most of the time.
  for (let i = 0; i < 2; i++) {
    await page.getByRole("button", { name: "Twice as long" }).click();
    await status.getByText("running it").waitFor();
    await status.getByText("No promise was broken").waitFor({ timeout: RUN_MS_MAX });
  }
  t.diagnostic(`four minutes: ${await status.textContent()}`);
}

async function share({ page }: WatchedPage): Promise<void> {
  const told = page.locator(".drill-status").getByText(/fingerprint/);
  const fingerprint = /fingerprint (\w{8})/.exec((await told.textContent()) ?? "")?.[1];
  assert.ok(fingerprint !== undefined);
  const other = await page.context().newPage();
  await other.goto(page.url());
  const status = other.locator(".drill-status", { hasText: "fingerprint" });
  assert.match((await status.textContent({ timeout: RUN_MS_MAX })) ?? "", new RegExp(fingerprint));
  await other.close();
}
