/** The dashboard on a large cluster, of which only the API is there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { browserMissing, startBrowser, WatchedPage } from "./browser.ts";
import { serveLargeCluster, VOLUMES } from "./large-cluster.ts";

/** What is measured on a quiet machine is told; these are for one that is busy. */
const SHOWN_MS_MAX = 4000;
const FRAME_MS_MAX = 1000;
/** Three times everything is asked anew meanwhile. */
const WATCH_MS = 6000;

/** The longest time in which the page drew nothing. */
const FRAMES = `new Promise((resolve) => {
  const gaps = [];
  let last = performance.now();
  const endMs = last + ${WATCH_MS};
  const next = (nowMs) => {
    gaps.push(nowMs - last);
    last = nowMs;
    if (nowMs < endMs) requestAnimationFrame(next);
    else resolve(gaps.toSorted((a, b) => b - a));
  };
  requestAnimationFrame(next);
})`;

test("a thousand volumes on 64 hosts are shown fluidly", { skip: browserMissing }, async (t) => {
  const api = await serveLargeCluster(t);
  const browser = await startBrowser(t);
  const watched = await WatchedPage.open(browser, api);
  const { page } = watched;
  await page.getByText("Everything is all right.").waitFor();
  await page.getByRole("link", { name: /Volumes 1,000 all whole/ }).waitFor();
  // Again, with everything compiled: what somebody waits for who opens it.
  await page.goto("about:blank");
  await page.goto(`${api}/#/overview`);
  await page.getByText("Everything is all right.").waitFor();
  const shownMs = await page.evaluate<number>("performance.now()");
  t.diagnostic(`the overview is there after ${Math.round(shownMs)} ms`);
  assert.ok(shownMs < SHOWN_MS_MAX, `${shownMs} ms`);

  await watched.show("volumes");
  await page.getByText(`100 of ${VOLUMES.toLocaleString("en")} are shown`).waitFor();
  const gaps = await page.evaluate<readonly number[]>(FRAMES);
  const slow = gaps.filter((ms) => ms > 50).length;
  t.diagnostic(
    `volumes: ${gaps.length} frames, the longest gaps ${gaps.slice(0, 3).map(Math.round).join(", ")} ms, ${slow} above 50 ms`,
  );
  assert.ok(gaps[0]! < FRAME_MS_MAX, `nothing was drawn for ${gaps[0]} ms`);
  await page.getByRole("button", { name: "Show more" }).click();
  await page.getByText(`200 of ${VOLUMES.toLocaleString("en")} are shown`).waitFor();
  await page.getByLabel("Find in Volumes").fill("volume-777");
  await page.getByText("1 of 1,000 are shown").waitFor();
  await page.getByRole("link", { name: "volume-777" }).waitFor();
  await watched.checkAccess("a long list");
  for (const place of ["hosts", "devices", "vms"]) {
    await watched.show(place);
    await watched.checkAccess(`${place} of a large cluster`);
  }
  watched.checkFaults();
});
