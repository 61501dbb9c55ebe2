/**
 * Virtual machines under real QEMUs on machines that are network namespaces, for tests of what
 * becomes of them when hosts and networks fail: a Linux guest that writes a log and a counter on
 * ext4 and has its file system checked whenever it begins, and the guest that does nothing but
 * count. Both run on the host that is hurt. Whatever a guest has printed was durable before, so
 * who begins elsewhere must find it.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { TestContext } from "node:test";
import { countersIn, writeCountingKernel } from "./counting-kernel.ts";
import { guestFilesIn } from "./guest.ts";
import { isLong } from "./harness.ts";
import { MachineCluster } from "./machine-cluster.ts";
import { runTool } from "./process.ts";

/** A Linux guest boots within it on a machine that is busy. */
const STEP_MS_MAX = 150_000;
const MOVE_MS_MAX = 15_000;
/** Loaded machines take their time; the figures count where nothing else runs. */
const SLACK = isLong ? 1 : 4;
const POLL_MS = 50;
/** The counting guest makes about eight a second, and a lease lasts ten seconds at most. */
const LEASE_COUNTS = 90;

export const GUESTS = ["linux", "count"] as const;
export type GuestName = (typeof GUESTS)[number];

interface VmShown {
  readonly state: string;
  readonly host?: string;
  readonly epoch: number;
  readonly protection: string;
}

interface VmWhy {
  readonly places: readonly { readonly isAlive: boolean; readonly isAccessible: boolean }[];
}

/** What is done to the host on which they run, and how it is put right. */
export interface VmFault {
  readonly name: string;
  readonly hurt: (cluster: MachineCluster, machine: number) => Promise<void>;
  readonly mend: (cluster: MachineCluster, machine: number) => Promise<void>;
  /** What was running there stands still and is told so by its process, until it is ended. */
  readonly isStopped?: boolean;
}

export class FaultedVms {
  readonly cluster: MachineCluster;
  readonly #t: TestContext;
  /** Whom to ask. */
  #asked = 1;

  private constructor(t: TestContext, cluster: MachineCluster) {
    this.#t = t;
    this.cluster = cluster;
  }

  static async create(t: TestContext): Promise<FaultedVms> {
    process.env["DRYSTONE_ACCEL"] = "tcg";
    const options = { hostCount: 3, etcdCount: 3, hasDemo: false };
    const vms = new FaultedVms(t, await MachineCluster.create(t, options));
    const { kernel, initramfs } = await guestFilesIn(vms.cluster.folder);
    const counting = path.join(vms.cluster.folder, "boot", "counting");
    writeCountingKernel(counting);
    const line = "console=ttyS0 quiet panic=-1 drystone.job=counter drystone.pause=0.3";
    const linux = ["--initrd", initramfs, "--append", `${line} drystone.fsck=1`];
    await vms.#start("linux", "64M", ["--memory", "192M", "--kernel", kernel, ...linux]);
    await vms.#start("count", "16M", ["--memory", "16M", "--kernel", counting]);
    for (const name of GUESTS) {
      await until(async () => {
        const { protection, state } = await vms.show(name);
        return protection === "protected" && state === "running";
      }, `${name} is protected`);
      const host = numberOf((await vms.show(name)).host);
      await until(() => vms.counters(host, name).length > 0, `${name} counts`);
    }
    return vms;
  }

  async #start(name: GuestName, size: string, machine: readonly string[]): Promise<void> {
    const volume = ["volume", "create", name, "--size", size, "--failures-to-tolerate", "1"];
    await this.#cli(...volume);
    await this.#cli("vm", "create", name, "--volume", name, ...machine);
    await this.#cli("vm", "start", name);
  }

  async #cli<T>(...args: readonly string[]): Promise<T> {
    return await this.cluster.cli<T>(this.#asked, args);
  }

  async show(name: GuestName): Promise<VmShown> {
    return await this.#cli("vm", "show", name);
  }

  /** What the guest has printed there since it was last started there, oldest first. */
  counters(machine: number, name: GuestName): readonly number[] {
    const file = path.join(this.#folder(machine, name), "serial.log");
    if (name === "count") return countersIn(file);
    return [...textOf(file).matchAll(/^COUNTER (\d+)\r?$/gm)].map(([, number]) => Number(number));
  }

  #folder(machine: number, name: GuestName): string {
    return path.join(this.cluster.vmsFolder(machine), name);
  }

  /** Its process there; undefined if there is none that lives. */
  pid(machine: number, name: GuestName): number | undefined {
    const said = textOf(path.join(this.#folder(machine, name), "vm.json"));
    if (said === "") return undefined;
    const { pid } = JSON.parse(said) as { readonly pid: number };
    return fs.existsSync(`/proc/${pid}/stat`) ? pid : undefined;
  }

  /** Brings both to one host; resolves with which. */
  async gather(): Promise<number> {
    const host = (await this.show("linux")).host!;
    if ((await this.show("count")).host !== host)
      await this.#cli("vm", "migrate", "count", "--host", host);
    await until(async () => (await this.show("count")).host === host, "both run on one host");
    for (const name of GUESTS) await this.#counts(numberOf(host), name);
    return numberOf(host);
  }

  async #counts(machine: number, name: GuestName, further = 2): Promise<void> {
    const before = this.counters(machine, name).length;
    await until(
      () => this.counters(machine, name).length >= before + further,
      `${name} counts on h${machine}`,
    );
  }

  /** They run elsewhere, find all that they were told, and have whole file systems. */
  async outlive(fault: VmFault): Promise<void> {
    const { cluster } = this;
    const machine = await this.gather();
    const others = cluster.numbers.filter((one) => one !== machine);
    this.#asked = others[0]!;
    const begin = performance.now();
    await fault.hurt(cluster, machine);
    const places = new Map<GuestName, number>();
    for (const name of GUESTS) {
      let place: number | undefined;
      await until(() => {
        place = others.find((other) => this.pid(other, name) !== undefined);
        return place !== undefined;
      }, `${name} is started elsewhere than on h${machine} after ${fault.name}`);
      const tookMs = Math.round(performance.now() - begin);
      this.#t.diagnostic(`${fault.name}: ${name} is started elsewhere after ${tookMs} ms`);
      assert.ok(tookMs < SLACK * MOVE_MS_MAX, `it took ${tookMs} ms`);
      places.set(name, place!);
    }
    for (const [name, place] of places)
      await until(() => this.counters(place, name).length > 0, `${name} counts on h${place}`);
    if (fault.isStopped === true) this.#standStill(machine);
    for (const [name, place] of places) this.#checkFound(fault, name, place);
    this.#checkFileSystem(fault.name, places.get("linux")!);
    await fault.mend(cluster, machine);
    for (const name of GUESTS)
      await until(() => this.pid(machine, name) === undefined, `${name} has ended on h${machine}`);
    for (const [name, place] of places) {
      await this.#counts(place, name);
      this.#checkFound(fault, name, place);
    }
    await this.#allIsWell();
  }

  #standStill(machine: number): void {
    for (const name of GUESTS) {
      const stat = textOf(`/proc/${this.pid(machine, name)}/stat`);
      assert.match(stat, /\) T /, `the process of ${name} on h${machine} is stopped`);
    }
  }

  /** Whoever has run it before was told less, and is told nothing more. */
  #checkFound({ name: fault }: Pick<VmFault, "name">, name: GuestName, now: number): void {
    const [found = 0] = this.counters(now, name);
    for (const other of this.cluster.numbers.filter((one) => one !== now)) {
      const told = this.counters(other, name).at(-1) ?? 0;
      assert.ok(
        found > told,
        `${fault}: ${name} was told ${told} on h${other} and began with ${found} on h${now}`,
      );
    }
  }

  #checkFileSystem(fault: string, machine: number): void {
    const said = textOf(path.join(this.#folder(machine, "linux"), "serial.log"));
    assert.match(said, /^MOUNTED found\r?$/m, "it has found its file system");
    assert.match(said, /^FSCK 0\r?$/m, `${fault}: e2fsck -n -f says\n${said}`);
  }

  /** Both stay where they are, without having been started anew, and count on meanwhile. */
  async notice(fault: VmFault): Promise<void> {
    const machine = await this.gather();
    this.#asked = machine;
    const before = await Promise.all(GUESTS.map((name) => this.show(name)));
    await fault.hurt(this.cluster, machine);
    // For longer than any lease lasts.
    await this.#counts(machine, "count", LEASE_COUNTS);
    await this.#counts(machine, "linux");
    await fault.mend(this.cluster, machine);
    const after = await Promise.all(GUESTS.map((name) => this.show(name)));
    const name = fault.name;
    assert.deepEqual(after.map(placeOf), before.map(placeOf), `${name}: they stay where they are`);
    this.#t.diagnostic(`${name}: both stay and count on`);
    await this.#allIsWell();
  }

  /** Whether they stay or move, they run in the end and miss nothing. */
  async endure({ name: fault, hurt, mend }: VmFault): Promise<void> {
    const machine = await this.gather();
    this.#asked = this.cluster.numbers.find((one) => one !== machine)!;
    const before = await Promise.all(GUESTS.map((name) => this.show(name)));
    await hurt(this.cluster, machine);
    await mend(this.cluster, machine);
    await this.#allIsWell();
    const after: VmShown[] = [];
    for (const name of GUESTS) after.push(await this.#settled(fault, name));
    const places = after.map(
      (shown, i) => `${GUESTS[i]}: ${placeOf(before[i]!)}, now ${placeOf(shown)}`,
    );
    this.#t.diagnostic(`${fault}: ${places.join("; ")}`);
  }

  async #settled(fault: string, name: GuestName): Promise<VmShown> {
    let shown: VmShown | undefined;
    await until(async () => {
      shown = await this.show(name);
      return shown.state === "running" && this.counters(numberOf(shown.host), name).length > 0;
    }, `${name} runs after ${fault}`);
    const machine = numberOf(shown?.host);
    await this.#counts(machine, name);
    this.#checkFound({ name: fault }, name, machine);
    return shown!;
  }

  /** Hosts are heard, and reach all objects, so that the next fault meets a whole cluster. */
  async #allIsWell(): Promise<void> {
    for (const name of GUESTS)
      await until(async () => {
        const { places } = await this.#cli<VmWhy>("why", "vm", name);
        return places.every(({ isAlive, isAccessible }) => isAlive && isAccessible);
      }, `every host reaches all of ${name}`);
    for (const name of GUESTS)
      await until(async () => await this.#isWhole(name), `${name} has all its copies`);
  }

  async #isWhole(name: GuestName): Promise<boolean> {
    const { components } = await this.#cli<{ components: readonly { state: string }[] }>(
      ...["volume", "show", name],
    );
    return components.every(({ state }) => state === "active");
  }

  /** Ended; what the Linux guest has written is read over NBD and checked from outside. */
  async finish(): Promise<void> {
    const machine = await this.gather();
    this.#asked = machine;
    await this.#cli("vm", "kill", "linux");
    await until(async () => (await this.show("linux")).state === "stopped", "it has ended");
    const told = this.counters(machine, "linux").at(-1) ?? 0;
    const socket = path.join(this.cluster.folder, "linux.sock");
    await this.#cli("volume", "attach", "linux", "--nbd", socket);
    const image = path.join(this.cluster.folder, "linux.img");
    await runTool("nbdcopy", [`nbd+unix:///linux?socket=${socket}`, image]);
    // As a mount does: what the journal holds is part of the file system.
    await runTool("e2fsck", ["-y", "-E", "journal_only", image]);
    const check = await runTool("e2fsck", ["-n", "-f", image]);
    this.#t.diagnostic(`e2fsck -n -f of the volume: ${check.stdout.trim().split("\n").at(-1)}`);
    const { stdout } = await runTool("debugfs", ["-R", "cat /log", image]);
    const lines = stdout.trim().split("\n").map(Number);
    assert.ok((lines.at(-1) ?? 0) >= told, `it was told ${told}, its log ends at ${lines.at(-1)}`);
    for (const [i, line] of lines.entries()) {
      const before = i === 0 ? 0 : lines[i - 1]!;
      // The last line twice: a crash between the two files, not a loss.
      assert.ok(line === before + 1 || line === before, `${line} follows ${before} in its log`);
    }
  }
}

function placeOf({ host, epoch }: VmShown): string {
  return `${host} at placement ${epoch}`;
}

function numberOf(host: string | undefined): number {
  return Number((host ?? "h0").slice(1));
}

/** Empty if there is no such file. */
function textOf(file: string): string {
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
}

async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + STEP_MS_MAX;
  while (!(await isSo())) {
    assert.ok(performance.now() < endMs, `it did not come that ${what}`);
    await pause(POLL_MS);
  }
}
