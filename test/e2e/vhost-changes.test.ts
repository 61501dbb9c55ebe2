/** A real Linux guest whose machine and disk change while it runs. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { Prng } from "../../src/base/index.ts";
import { QmpClient } from "../../src/platform/machines/qmp-client.ts";
import { MEMORY_MIB, TestGuest } from "./guest.ts";
import { startHost } from "./harness.ts";
import type { DevHost } from "./harness.ts";
import { NbdClient } from "./nbd-client.ts";
import { runTool } from "./process.ts";

const TEST_MS_MAX = 400_000;
const STEP_MS_MAX = 120_000;
const MIB = 1 << 20;
const VOLUME_BYTES = 1024 * MIB;
const GROWN_BYTES = 1536 * MIB;
const GROWN_AGAIN_BYTES = 2048 * MIB;
/** More than all of the first memory. */
const FILE_BYTES = 288 * MIB;
const FILE_SYSTEM_BYTES = 352 * MIB;
/** Where the guest copies the file to. */
const COPY_AT = 512 * MIB;
const ADDED_MIB = 512;
/** At most, of the first memory: QEMU gives it in a few pieces. */
const FIRST_SECTIONS = MEMORY_MIB / 2 + 8;

interface Sections {
  readonly mapped: number;
  readonly mapsTotal: number;
  readonly evictionsTotal: number;
}

async function sections(host: DevHost): Promise<Sections> {
  return (await host.cli<{ readonly sharedMemory: Sections }>(["stats"])).sharedMemory;
}

/** On the volume, as the guest will find it; returns what the file holds. */
async function fileSystemWithFile(host: DevHost, uri: string): Promise<Buffer> {
  const files = path.join(host.folder, "files");
  const image = path.join(host.folder, "image");
  const bytes = Buffer.alloc(FILE_BYTES);
  new Prng(6).fill(bytes);
  fs.mkdirSync(files);
  fs.writeFileSync(path.join(files, "large"), bytes);
  await runTool("mke2fs", ["-q", "-t", "ext4", "-d", files, image, `${FILE_SYSTEM_BYTES / MIB}M`]);
  await runTool("nbdcopy", [image, uri]);
  return bytes;
}

/** What the guest told last of this kind. */
function last(guest: TestGuest, pattern: RegExp): RegExpExecArray {
  const found = guest.console.map((line) => pattern.exec(line)).filter((match) => match !== null);
  assert.ok(found.length > 0, `nothing like ${pattern.source}`);
  return found.at(-1)!;
}

function answers(guest: TestGuest): number[] {
  return last(guest, /^ANSWERS (\d+) (\d+)$/)
    .slice(1)
    .map(Number);
}

/** Both queues are answered. */
async function worksOn(guest: TestGuest): Promise<void> {
  const before = answers(guest);
  await guest.waitForCounter(guest.lastCounter + 5);
  for (const [queue, count] of answers(guest).entries())
    assert.ok(count > before[queue]!, `queue ${queue} answers no more after ${before[queue]}`);
}

/** The machine's place for more memory. */
class MemorySlot {
  readonly #machine: QmpClient;
  #onDeleted = (): void => undefined;

  private constructor(connected: (onDeleted: () => void) => QmpClient) {
    this.#machine = connected(() => this.#onDeleted());
  }

  static async of(t: TestContext, control: string): Promise<MemorySlot> {
    let deleted = (): void => undefined;
    const machine = await QmpClient.connect(control, ({ name }) => {
      if (name === "DEVICE_DELETED") deleted();
    });
    t.after(() => machine.close());
    const memory = { id: "more", size: ADDED_MIB * MIB, share: true };
    await machine.command("object-add", { "qom-type": "memory-backend-memfd", ...memory });
    return new MemorySlot((onDeleted) => {
      deleted = onDeleted;
      return machine;
    });
  }

  async plug(): Promise<void> {
    await this.#machine.command("device_add", { driver: "pc-dimm", id: "dimm", memdev: "more" });
  }

  /** Once the guest has given it back. */
  async unplug(): Promise<void> {
    const deleted = new Promise<void>((resolve) => {
      this.#onDeleted = resolve;
    });
    await this.#machine.command("device_del", { id: "dimm" });
    await deleted;
  }
}

/** Sections that have lost their mapping although there was room. */
function revokedCount({ mapped, mapsTotal, evictionsTotal }: Sections): number {
  return mapsTotal - evictionsTotal - mapped;
}

/** What the guest has read and copied is what the file held at the beginning. */
async function assertCopied(uri: string, file: Buffer): Promise<void> {
  const { pathname, searchParams } = new URL(uri);
  const socket = searchParams.get("socket") ?? "";
  const client = await NbdClient.connect({ socket, exportName: pathname.slice(1) });
  for (let at = 0; at < FILE_BYTES; at += MIB) {
    const copied = await client.read(COPY_AT + at, MIB);
    assert.equal(Buffer.compare(copied, file.subarray(at, at + MIB)), 0, `at ${at}`);
  }
  await client.close();
}

test(
  "a guest with two queues works on while memory comes and goes, its disk grows and its host is killed",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const [vhostSocket, control] = [path.join(host.folder, "vhost"), path.join(host.folder, "qmp")];
    await host.cli(["volume", "create", "guest", "--size", String(VOLUME_BYTES)]);
    const attach = ["volume", "attach", "guest", "--vhost-user", vhostSocket];
    const { uri } = await host.cli<{ readonly uri: string }>(attach);
    const large = await fileSystemWithFile(host, uri);
    const guest = await TestGuest.start({ vhostSocket, control, processors: 2, job: "changes" });
    t.after(() => guest.kill());
    await guest.waitForLine(/^QUEUES 2$/);
    await guest.waitForLine(new RegExp(`^SIZE ${VOLUME_BYTES}$`));
    await guest.waitForCounter(1);
    const memoryKib = Number(last(guest, /^MEMORY (\d+)$/)[1]);
    await worksOn(guest);

    const slot = await MemorySlot.of(t, control);
    await slot.plug();
    const [, cachedKib] = await guest.waitForLine(/^CACHED (\d+)$/, STEP_MS_MAX);
    assert.ok(Number(cachedKib) > memoryKib, "the file is where there was no memory before");
    await guest.waitForLine(/^COPIED$/, STEP_MS_MAX);
    await assertCopied(uri, large);
    const full = await sections(host);
    assert.ok(full.mapped > FIRST_SECTIONS, "what was added is used for the disk");
    assert.equal(revokedCount(full), 0, "the first memory was not described anew");
    await worksOn(guest);

    await host.cli(["volume", "resize", "guest", "--size", String(GROWN_BYTES)]);
    await guest.waitForLine(new RegExp(`^SIZE ${GROWN_BYTES}$`));
    await guest.waitForLine(/^END ok$/);
    await worksOn(guest);

    await slot.unplug();
    const left = await sections(host);
    assert.ok(revokedCount(left) > 0, "what was added is mapped no more");
    await worksOn(guest);

    // Killed while the guest fills memory that has just come: it is told of all of it again. And
    // the disk grows while no machine is there to be told of that.
    const from = guest.program.lineCount;
    await slot.plug();
    await guest.program.waitForLine(/^MEMORY/, STEP_MS_MAX, from);
    process.kill(guest.program.pid, "SIGSTOP");
    await host.kill();
    await host.start();
    await host.cli(["volume", "resize", "guest", "--size", String(GROWN_AGAIN_BYTES)]);
    process.kill(guest.program.pid, "SIGCONT");
    await guest.program.waitForLine(/^COPIED$/, STEP_MS_MAX, from);
    await assertCopied(uri, large);
    await guest.waitForLine(new RegExp(`^SIZE ${GROWN_AGAIN_BYTES}$`));
    await guest.program.waitForLine(/^END ok$/, STEP_MS_MAX, from);
    await worksOn(guest);
  },
);
