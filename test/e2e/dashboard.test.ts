/** The dashboard in a real browser, on a real cluster whose hosts are killed. */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import type { Locator } from "playwright-core";
import type { VolumeView } from "../../src/host/index.ts";
import { browserMissing, startBrowser, WatchedPage } from "./browser.ts";
import { changeSettings, dropSnapshot, maintain, useSnapshots } from "./dashboard-actions.ts";
import { defineMachine, useTokens } from "./dashboard-actions.ts";
import { chooseColours, useAvailability, useDevice, useVolume } from "./dashboard-buttons.ts";
import { ClusterRun } from "./cluster-run.ts";
import { temporaryFolder } from "./harness.ts";

const PLACES = [
  "overview",
  "volumes",
  "volumes/web1",
  "snapshots",
  "vms",
  "hosts",
  "hosts/h1",
  "devices",
  "health",
  "simulator",
  "events",
  "audit",
  "access",
  "settings",
];
const RECOVERED_MS_MAX = 60_000;
const DESKTOP = { width: 1280, height: 860 };
const PHONE = { width: 390, height: 844 };
const NARROW = { width: 320, height: 640 };

test("the dashboard shows a cluster live and changes it", { skip: browserMissing }, async (t) => {
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "cluster"));
  t.after(() => cluster.kill());
  const browser = await startBrowser(t);
  const watched = await WatchedPage.open(browser, cluster.api(1), { viewport: DESKTOP });
  await t.test("it says that all is well", () => checkHealthy(watched));
  await t.test("a volume is made and attached with the keyboard alone", () => makeVolume(watched));
  await t.test("a refusal is told, and nothing is done", () => showRefusal(watched));
  await t.test("a snapshot is taken, cloned and rolled back to", () =>
    useSnapshots(watched, cluster),
  );
  await t.test("a host is put into maintenance once it was seen what that does", () =>
    maintain(watched, cluster),
  );
  await t.test("a machine is defined and deleted", () => defineMachine(watched, cluster));
  await t.test("a volume is attached, grown, cloned and deleted on its page", () =>
    useVolume(watched, cluster),
  );
  await t.test("a device is read through, and kept after all", () => useDevice(watched, cluster));
  await t.test("settings are changed", async () => {
    await changeSettings(watched, cluster);
    await useAvailability(watched, cluster);
    await chooseColours(watched);
  });
  await t.test("a token is made and taken back, and the log tells", () =>
    useTokens(watched, cluster),
  );
  await t.test("everybody can use every page, in light and dark, on a phone", async () => {
    await checkPages(watched);
    const options = { viewport: PHONE, colorScheme: "dark" } as const;
    const phone = await WatchedPage.open(browser, cluster.api(2), options);
    await checkPhone(phone);
    phone.checkFaults();
  });
  await t.test("a snapshot is deleted", () => dropSnapshot(watched));
  await t.test("a host that is killed and comes back is seen without a reload", () =>
    watchKill(watched, cluster),
  );
  await t.test("a partition is shown from both of its sides", () =>
    watchPartition(watched, cluster),
  );
  await t.test("a host that stops is told of, and what was known stays", () =>
    loseHost(watched, cluster),
  );
  watched.checkFaults();
});

function healthOf({ page }: WatchedPage): Locator {
  return page.getByRole("region", { name: "Health" });
}

async function checkHealthy(watched: WatchedPage): Promise<void> {
  const { page } = watched;
  await healthOf(watched).getByText("Everything is all right.").waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  await page.getByRole("link", { name: /Hosts 3 all reached/ }).waitFor();
}

async function makeVolume(watched: WatchedPage): Promise<void> {
  const { page } = watched;
  await page.getByRole("link", { name: "Volumes", exact: true }).press("Enter");
  await page.getByRole("button", { name: "Create a volume" }).press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").press("w");
  await page.keyboard.type("eb1");
  await page.keyboard.press("Tab");
  await page.keyboard.type("1G");
  await page.keyboard.press("Enter");
  await dialog.getByText("drystone volume attach web1 --nbd /run/web1.sock").waitFor();
  await watched.checkAccess("the dialog");
  await dialog.getByRole("button", { name: "Attach it here now" }).press("Enter");
  await page.getByRole("heading", { name: "Attached on h1" }).waitFor();
  await page.getByText("Mirror: each part below is a full copy").waitFor();
  assert.equal(await page.locator(".tree .chip.good").count(), 3, "all components are active");
}

async function showRefusal(watched: WatchedPage): Promise<void> {
  const { page } = watched;
  await watched.show("volumes");
  await page.getByRole("button", { name: "Create a volume" }).click();
  await page.getByLabel("Name").fill("web1");
  await page.keyboard.press("Enter");
  await page
    .getByRole("alert")
    .getByText(/a volume named web1 exists already/)
    .waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
}

async function checkPages(watched: WatchedPage): Promise<void> {
  const dismiss = watched.page.getByRole("button", { name: "Dismiss" });
  while ((await dismiss.count()) > 0) await dismiss.first().click();
  for (const place of PLACES) {
    await watched.show(place);
    await watched.checkAccess(place);
    await watched.takePicture(place.replace("/", "-"));
  }
}

async function checkPhone(phone: WatchedPage): Promise<void> {
  for (const place of PLACES) {
    await phone.show(place);
    await phone.checkAccess(`${place} in the dark`);
    await phone.takePicture(`${place.replace("/", "-")}-phone`);
    const width = await phone.page.evaluate<number>("document.documentElement.scrollWidth");
    assert.ok(width <= PHONE.width, `${place} is ${width} wide`);
  }
}

async function watchKill(watched: WatchedPage, cluster: ClusterRun): Promise<void> {
  const health = healthOf(watched);
  await watched.show("overview");
  await cluster.dev("kill", "h3");
  await health.getByText(/host h3 is down/).waitFor({ timeout: RECOVERED_MS_MAX });
  await health.getByText(/What to do: start it again/).waitFor();
  await watched.takePicture("overview-degraded");
  await watched.checkAccess("a degraded cluster");
  await showSilent(watched);
  await cluster.dev("start", "h3");
  await health.getByText("Everything is all right.").waitFor({ timeout: RECOVERED_MS_MAX });
}

/** Who does not answer is not among those that reach all, and all of it fits a narrow screen. */
async function showSilent(watched: WatchedPage): Promise<void> {
  const { page } = watched;
  await watched.show("hosts");
  await page.getByText("Storage network: all hosts that answer reach each other").waitFor();
  await page.setViewportSize(NARROW);
  const width = await page.evaluate<number>("document.documentElement.scrollWidth");
  assert.ok(width <= NARROW.width, `it is ${width} wide`);
  await page.setViewportSize(DESKTOP);
  await watched.show("overview");
}

async function watchPartition(watched: WatchedPage, cluster: ClusterRun): Promise<void> {
  const { page } = watched;
  await watched.show("hosts");
  const whole = page.getByText("Storage network: all hosts reach all");
  await whole.waitFor();
  await cluster.dev("partition", "--network", "storage", "h2");
  await page.getByText("Storage network: split").waitFor({ timeout: RECOVERED_MS_MAX });
  await page.getByText("h1, h3 | h2").waitFor({ timeout: RECOVERED_MS_MAX });
  await page.getByText("Management network: all hosts reach all").waitFor();
  await watched.takePicture("hosts-partition");
  await page.getByRole("button", { name: "If h3 failed" }).click();
  await page.getByText("No machine would notice that h3 is gone.").waitFor();
  await watched.checkAccess("a partition");
  await cluster.untilSeenBy("h2", ["h1 down up", "h3 down up"]);
  const { attachment } = await cluster.cli<VolumeView>(2, ["volume", "show", "web1"]);
  assert.equal(attachment?.state, "online", "the others serve it, whatever this host reaches");
  await cluster.dev("heal");
  await whole.waitFor({ timeout: RECOVERED_MS_MAX });
}

async function loseHost(watched: WatchedPage, cluster: ClusterRun): Promise<void> {
  const { page } = watched;
  await watched.show("overview");
  await cluster.dev("kill", "h1");
  await page.getByRole("alert").getByText("The host does not answer.").waitFor();
  await page.getByText("Not live").waitFor();
  await healthOf(watched).waitFor();
  await cluster.dev("start", "h1");
  await page.getByText("Live", { exact: true }).waitFor({ timeout: RECOVERED_MS_MAX });
  await page.getByRole("alert").waitFor({ state: "detached" });
}
