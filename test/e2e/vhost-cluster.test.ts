/** Two real Linux guests on volumes of a cluster whose hosts die and come back. */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Prng } from "../../src/base/index.ts";
import { ClusterRun } from "./cluster-run.ts";
import { assertWhole, makeBootDisk, TestGuest } from "./guest.ts";
import type { VhostDrive } from "./guest.ts";
import { temporaryFolder } from "./harness.ts";
import { NbdClient } from "./nbd-client.ts";
import { runTool } from "./process.ts";
import { RebuildWorld } from "./rebuild-world.ts";
import type { Traffic } from "./rebuild-world.ts";

const TEST_MS_MAX = 400_000;
const NAMES = ["one", "two"] as const;
/** The first one boots from its volume; the second one gives back what it has written, too. */
const JOBS = ["counter", "trims"] as const;
const POLL_MS = 50;
/** What is written while a host is away: it takes seconds until that is there again. */
const MISSED_BYTES = 256 << 20;

async function caughtUp(cluster: ClusterRun): Promise<number> {
  const { catchUp } = await cluster.get<{ readonly catchUp: Traffic }>(1, "/v1/stats");
  return catchUp.bytesSent;
}

/** Two guests, each on a volume of its own at the first host of a cluster. */
class Guests {
  readonly cluster: ClusterRun;
  readonly volumes: RebuildWorld;
  readonly guests: readonly TestGuest[];
  readonly #drives: readonly VhostDrive[];

  private constructor(cluster: ClusterRun, drives: readonly VhostDrive[], guests: TestGuest[]) {
    this.cluster = cluster;
    this.volumes = new RebuildWorld(cluster, 3);
    this.#drives = drives;
    this.guests = guests;
  }

  static async start(t: TestContext): Promise<Guests> {
    const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"));
    t.after(() => cluster.kill());
    const drives: VhostDrive[] = [];
    for (const name of NAMES) {
      const vhostSocket = path.join(cluster.folder, `${name}.vhost`);
      const nbd = path.join(cluster.folder, `${name}.sock`);
      await cluster.cli(1, [
        ...["volume", "create", name, "--size", "1G", "--failures-to-tolerate", "1"],
      ]);
      await cluster.cli(1, [
        ...["volume", "attach", name, "--vhost-user", vhostSocket, "--nbd", nbd],
      ]);
      drives.push({ vhostSocket, isBootDisk: name === NAMES[0] });
    }
    const image = await makeBootDisk(cluster.folder);
    const uri = `nbd+unix:///${NAMES[0]}?socket=${path.join(cluster.folder, `${NAMES[0]}.sock`)}`;
    await runTool("nbdcopy", [image, uri]);
    const guests = await Promise.all(
      drives.map((drive, i) => TestGuest.start({ ...drive, job: JOBS[i]! })),
    );
    t.after(() => Promise.all(guests.map((guest) => guest.kill())));
    return new Guests(cluster, drives, guests);
  }

  async workOn(): Promise<void> {
    for (const guest of this.guests) await guest.waitForCounter(guest.lastCounter + 5);
  }

  /** Where the guest's file system has ended before: somebody else writes there meanwhile. */
  async fillEnd(name: string): Promise<void> {
    const socket = path.join(this.cluster.folder, `${name}.sock`);
    const client = await NbdClient.connect({ socket, exportName: name });
    const bytes = Buffer.alloc(1 << 20);
    const prng = new Prng(4);
    for (let at = 0; at < MISSED_BYTES; at += bytes.length) {
      prng.fill(bytes);
      await client.write(2 ** 30 + at, bytes);
    }
    await client.close();
  }

  /**
   * What each guest counted to when a copy was first and last seen on its way back: what lies in
   * between it has written and had made durable meanwhile.
   */
  async countedWhileCatchingUp(name: string, host: string): Promise<(readonly [number, number])[]> {
    let first: number[] | undefined;
    let latest: number[] = [];
    for (;;) {
      const counters = this.guests.map((guest) => guest.lastCounter);
      const { components } = await this.volumes.show(name);
      const state = components.find((component) => component.host === host)?.state;
      if (state === "active") return latest.map((count, i) => [first?.[i] ?? count, count]);
      if (state === "catching-up") {
        // Counted before it was asked for the state, and after that the first time.
        first ??= this.guests.map((guest) => guest.lastCounter);
        latest = counters;
      } else first = undefined;
      await pause(POLL_MS);
    }
  }

  async assertWhole(): Promise<void> {
    for (const guest of this.guests) await guest.kill();
    for (const [i, guest] of this.guests.entries())
      await assertWhole(this.#drives[i]!, guest.lastCounter);
  }
}

test(
  "a guest that boots from a cluster works on while hosts die and catch up, and so does a second one beside it",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const run = await Guests.start(t);
    const { cluster, volumes } = run;
    await run.workOn();
    // A host with copies dies; it catches up while the guests work; then their own host dies.
    const away = (await volumes.holders("one")).find((host) => host !== "h1");
    assert.ok(away !== undefined, "a copy is on another host");
    await cluster.cli(1, ["volume", "resize", "one", "--size", "2G"]);
    await cluster.dev("kill", away);
    await run.workOn();
    await run.fillEnd("one");
    const before = await caughtUp(cluster);
    const [counted] = await Promise.all([
      run.countedWhileCatchingUp("one", away),
      cluster.dev("start", away),
    ]);
    t.diagnostic(`the guests counted ${JSON.stringify(counted)} while ${away} caught up`);
    for (const [first, latest] of counted)
      assert.ok(latest > first + 1, `a guest came from ${first} to ${latest} meanwhile`);
    await volumes.untilWhole(NAMES);
    const sent = (await caughtUp(cluster)) - before;
    assert.ok(sent >= MISSED_BYTES, `${sent} bytes were sent to ${away}`);
    await run.workOn();
    await cluster.dev("kill", "h1");
    await cluster.dev("start", "h1");
    await run.workOn();
    await run.assertWhole();
  },
);
