/**
 * The file system under a device is filled by somebody else while a host serves a volume from it:
 * what was acknowledged stays and is read, nobody is told that a write is there which is not, the
 * host says why, and everything works again once there is room, without a restart.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Prng } from "../../src/base/index.ts";
import { temporaryFolder } from "./harness.ts";
import { HostRun } from "./host-run.ts";
import { NbdClient, NbdError } from "./nbd-client.ts";
import type { NbdAddress } from "./nbd-client.ts";
import { runTool } from "./process.ts";
import { destagedStats } from "./stats.ts";
import { verifyVolume } from "./verified-load.ts";
import { BLOCK, WriteLedger } from "./write-ledger.ts";

const isRoot = process.getuid?.() === 0;
const ENOSPC = 28;
const MIB = 1 << 20;
const VOLUME_BYTES = 96 * MIB;
const LARGE_BLOCKS = 256;
const LANES = 32;
const WRITES_MAX = 30_000;
const WAIT_MS_MAX = 60_000;
const LOOK_MS = 100;

/** A host whose device is on a small file system of its own. */
class SmallWorld {
  readonly host: HostRun;
  readonly ledger: WriteLedger = new WriteLedger(VOLUME_BYTES);
  readonly prng: Prng = new Prng(7);
  readonly #filler: string;
  readonly #address: NbdAddress;

  private constructor(host: HostRun, filler: string, socket: string) {
    this.host = host;
    this.#filler = filler;
    this.#address = { socket, exportName: "web1" };
  }

  static async create(t: TestContext): Promise<SmallWorld> {
    const ends: (() => Promise<unknown>)[] = [];
    // Before the folder is deleted, whose own hook comes next.
    t.after(async () => {
      for (const end of ends.toReversed()) await end();
    });
    const folder = temporaryFolder(t);
    const mounted = path.join(folder, "mounted");
    fs.mkdirSync(mounted);
    await runTool("mount", ["-t", "tmpfs", "-o", "size=700m", "drystone-test", mounted]);
    ends.push(() => runTool("umount", [mounted]));
    const host = await HostRun.configure(t, folder, [path.join(mounted, "device")]);
    ends.push(() => host.kill());
    await host.start();
    await host.cli(["volume", "create", "web1", "--size", String(VOLUME_BYTES)]);
    const socket = path.join(folder, "web1.sock");
    await host.cli(["volume", "attach", "web1", "--nbd", socket]);
    return new SmallWorld(host, path.join(mounted, "filler"), socket);
  }

  /** Takes the last byte of the file system. */
  fill(): void {
    const handle = fs.openSync(this.#filler, "a");
    try {
      for (let bytes = MIB; bytes >= BLOCK;) {
        try {
          fs.writeSync(handle, Buffer.alloc(bytes, 0x5a));
        } catch (error) {
          if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
          bytes /= 2;
        }
      }
    } finally {
      fs.closeSync(handle);
    }
  }

  makeRoom(): void {
    fs.rmSync(this.#filler);
  }

  async connect(): Promise<NbdClient> {
    return await NbdClient.connect(this.#address);
  }

  /** Writes what nothing else holds; false if it was refused for want of space. */
  async write(client: NbdClient, blocks: number): Promise<boolean> {
    const length = blocks * BLOCK;
    let offset: number;
    do offset = this.prng.below(VOLUME_BYTES / length) * length;
    while (!this.ledger.isFree(offset, length));
    const change = { offset, length, content: this.ledger.newContent(this.prng, 0) };
    this.ledger.begin(change);
    try {
      await client.write(offset, this.ledger.dataOf(change));
    } catch (error) {
      if (!(error instanceof NbdError)) throw error;
      assert.equal(error.errno, ENOSPC, error.message);
      // A longer one is taken as it arrives, and what has arrived may be there.
      if (blocks === 1) this.ledger.refuse(change);
      return false;
    }
    this.ledger.acknowledge(change);
    return true;
  }

  async verify(): Promise<void> {
    assert.deepEqual(await verifyVolume(this.#address, this.ledger), []);
  }

  async untilReason(code: string): Promise<void> {
    const limit = performance.now() + WAIT_MS_MAX;
    for (;;) {
      const { reasons } = await this.host.cli<{ reasons: readonly { code: string }[] }>(["status"]);
      if (reasons.some((reason) => reason.code === code)) return;
      const known = reasons.map((reason) => reason.code).join(", ");
      assert.ok(performance.now() < limit, `no reason "${code}", only "${known}"`);
    }
  }

  /** Small ones and large ones. */
  async untilWritten(client: NbdClient): Promise<void> {
    const limit = performance.now() + WAIT_MS_MAX;
    while (!(await this.write(client, 1))) {
      assert.ok(performance.now() < limit, "writes are refused although there is room");
      await pause(LOOK_MS);
    }
    assert.ok(await this.write(client, LARGE_BLOCKS));
  }

  async assertSound(): Promise<void> {
    await destagedStats(this.host);
    const { devices } = await this.host.cli<{ devices: readonly { deviceId: string }[] }>([
      "device",
      "list",
    ]);
    const { problems } = await this.host.cli<{ problems: readonly string[] }>([
      "device",
      "scrub",
      devices[0]!.deviceId,
    ]);
    assert.deepEqual(problems, []);
  }
}

test(
  "small writes to a device whose file system fills are refused, reads go on, and so do writes once there is room",
  { skip: !isRoot },
  async (t) => {
    const world = await SmallWorld.create(t);
    let client = await world.connect();
    for (let i = 0; i < 50; i++) assert.ok(await world.write(client, 1));
    world.fill();
    let writes = 0;
    for (let taken = true; taken; writes += LANES) {
      const lanes = Array.from({ length: LANES }, () => world.write(client, 1));
      taken = !(await Promise.all(lanes)).includes(false);
      assert.ok(writes < WRITES_MAX, "no write was ever refused");
    }
    await world.verify();
    await world.untilReason("almost-full");

    // Nor does a crash lose anything, and a full file system keeps no host from starting.
    await world.host.kill();
    world.fill();
    await world.host.start();
    client = await world.connect();
    await world.verify();

    world.makeRoom();
    await world.untilWritten(client);
    await world.verify();
    await world.assertSound();
    await client.close();
  },
);

test(
  "large writes under way when the file system of their device fills are held or refused, and nothing is lost",
  { skip: !isRoot },
  async (t) => {
    const world = await SmallWorld.create(t);
    const client = await world.connect();
    for (let i = 0; i < 8; i++) assert.ok(await world.write(client, LARGE_BLOCKS));
    world.fill();
    const answered = Promise.all([0, 1, 2, 3].map(() => world.write(client, LARGE_BLOCKS)));
    await world.untilReason("almost-full");
    const reader = await world.connect();
    await reader.read(0, MIB);
    await reader.close();
    world.makeRoom();
    await answered;
    await world.untilWritten(client);
    await world.verify();
    await world.assertSound();
    await client.close();
  },
);
