/**
 * Five machines as network namespaces, whose storage network splits into two and three while the
 * management network is whole. The master is on the smaller side, and so is a machine whose disk
 * is on the larger one: it runs there in the end. What is decided meanwhile is written down by
 * hosts that can, and outlives the master.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { countersIn, writeCountingKernel } from "./counting-kernel.ts";
import { etcdMissing } from "./etcd.ts";
import { isLong } from "./harness.ts";
import { MachineCluster } from "./machine-cluster.ts";
import { namespacesMissing } from "./namespaces.ts";

const STEP_MS_MAX = 60_000;
const HOSTS = 5;
const MOVE_MS_MAX = 15_000;
/** Loaded machines take their time; the figures count where nothing else runs. */
const SLACK = isLong ? 1 : 4;

interface VmShown {
  readonly state: string;
  readonly host?: string;
  readonly protection: string;
  readonly history: readonly { readonly what: string; readonly because: string }[];
}

interface VolumeShown {
  readonly components: readonly { readonly host: string }[];
}

interface StatusShown {
  readonly conditions: readonly { readonly kind: string; readonly message: string }[];
}

async function until(condition: () => Promise<boolean>, what: string): Promise<number> {
  const begin = performance.now();
  while (!(await condition())) {
    assert.ok(performance.now() - begin < STEP_MS_MAX, `it did not come that ${what}`);
    await pause(50);
  }
  return Math.round(performance.now() - begin);
}

class Sides {
  readonly cluster: MachineCluster;
  readonly kernel: string;
  /** Whom to ask. */
  asked = 1;

  constructor(cluster: MachineCluster) {
    this.cluster = cluster;
    this.kernel = path.join(cluster.folder, "boot", "counting");
    writeCountingKernel(this.kernel);
  }

  async cli<T>(...args: readonly string[]): Promise<T> {
    return await this.cluster.cli<T>(this.asked, args);
  }

  async show(vm: string): Promise<VmShown> {
    return await this.cli("vm", "show", vm);
  }

  async master(): Promise<number | undefined> {
    const { master } = await this.cli<{ master?: string }>("ha", "show");
    return master === undefined ? undefined : numberOf(master);
  }

  async placesOf(volume: string): Promise<readonly number[]> {
    const { components } = await this.cli<VolumeShown>("volume", "show", volume);
    return components.map(({ host }) => numberOf(host));
  }

  async createVolume(volume: string): Promise<void> {
    const size = ["--size", "16M", "--failures-to-tolerate", "1"];
    await this.cli("volume", "create", volume, ...size);
  }

  async start(vm: string, volume: string): Promise<void> {
    const machine = ["--volume", volume, "--memory", "16M", "--kernel", this.kernel];
    await this.cli("vm", "create", vm, ...machine);
    await this.cli("vm", "start", vm);
  }

  /** What its guest has printed on that host, oldest first. */
  counters(host: number, vm: string): readonly number[] {
    return countersIn(path.join(this.cluster.vmsFolder(host), vm, "serial.log"));
  }

  async counts(host: number, vm: string): Promise<void> {
    const before = this.counters(host, vm).length;
    await until(async () => this.counters(host, vm).length > before, `${vm} counts on h${host}`);
  }

  /** It goes on elsewhere from what it was told where it was; resolves with where that is. */
  async runsElsewhere(vm: string, before: number): Promise<number> {
    let host = before;
    await until(async () => {
      const shown = await this.show(vm);
      host = numberOf(shown.host ?? "h0");
      return shown.state === "running" && host !== 0 && host !== before;
    }, `${vm} runs elsewhere than on h${before}`);
    const told = this.counters(before, vm).at(-1) ?? 0;
    await until(async () => this.counters(host, vm).length > 0, `${vm} counts on h${host}`);
    const [found = 0] = this.counters(host, vm);
    assert.ok(found > told, `${vm} was told ${told} and began with ${found}`);
    return host;
  }

  async isProtected(vm: string): Promise<boolean> {
    return (await this.show(vm)).protection === "protected";
  }

  /** Each of those reaches the others of its side alone over the storage network. */
  async split(...sides: readonly (readonly number[])[]): Promise<void> {
    for (const side of sides.slice(0, -1)) {
      const others = this.cluster.numbers.filter((machine) => !side.includes(machine));
      for (const machine of side) await this.cluster.machines.split(machine, "storage", others);
    }
  }
}

function numberOf(host: string): number {
  return Number(host.slice(1));
}

interface Begun {
  /** Where the master is, and the machine `guest`, and nothing of its disk. */
  readonly smaller: readonly number[];
  readonly master: number;
  readonly guest: number;
}

async function prepare(sides: Sides): Promise<Begun> {
  await sides.createVolume("first");
  await sides.start("first", "first");
  await until(async () => (await sides.master()) !== undefined, "somebody decides");
  const master = (await sides.master())!;
  const other = sides.cluster.numbers.find((machine) => machine !== master)!;
  const smaller = [master, other];
  // Nothing is placed on hosts that are out of service.
  for (const machine of smaller)
    await sides.cli("host", "maintenance", "on", `h${machine}`, "--mode", "none");
  await sides.createVolume("guest");
  const places = await sides.placesOf("guest");
  assert.ok(!places.some((place) => smaller.includes(place)), "its disk is on the larger side");
  await sides.start("guest", "guest");
  await until(async () => await sides.isProtected("guest"), "guest is protected");
  await until(async () => (await sides.show("guest")).state === "running", "guest runs");
  // Its home is on the larger side by now, too.
  for (const machine of smaller) await sides.cli("host", "maintenance", "off", `h${machine}`);
  let guest = numberOf((await sides.show("guest")).host!);
  if (!smaller.includes(guest)) {
    guest = other;
    await sides.cli("vm", "migrate", "guest", "--host", `h${guest}`);
    await until(async () => (await sides.show("guest")).host === `h${guest}`, "guest has moved");
  }
  await sides.counts(guest, "guest");
  return { smaller, master, guest };
}

async function moveToLarger(
  t: TestContext,
  sides: Sides,
  { smaller, master, guest }: Begun,
): Promise<void> {
  const places = sides.cluster.numbers.filter((machine) => !smaller.includes(machine));
  sides.asked = places[0]!;
  const begin = performance.now();
  await sides.split(smaller, places);
  const now = await sides.runsElsewhere("guest", guest);
  const tookMs = Math.round(performance.now() - begin);
  t.diagnostic(`a machine of the smaller side counts on the larger one after ${tookMs} ms`);
  assert.ok(tookMs < SLACK * MOVE_MS_MAX, `it took ${tookMs} ms`);
  assert.ok(places.includes(now), `h${now} is on the larger side`);
  assert.equal(await sides.master(), master, "the master is on the smaller side all the time");
  const { history } = await sides.show("guest");
  assert.ok(history.some(({ what }) => what === `sent away from h${guest}`));
  const { conditions } = await sides.cli<StatusShown>("status");
  assert.deepEqual(
    conditions.map(({ kind }) => kind),
    ["storage-partition"],
  );
}

/** Its home can be written on the larger side alone, which the master is not on. */
async function protectThroughOthers(t: TestContext, sides: Sides): Promise<void> {
  await sides.createVolume("late");
  await sides.start("late", "late");
  const tookMs = await until(async () => await sides.isProtected("late"), "late is protected");
  t.diagnostic(`what is new is protected after ${tookMs} ms`);
  const { history } = await sides.show("late");
  const said = history.findLast(({ what }) => what === "protected");
  assert.match(said?.because ?? "", /has written it into its home/);
  await until(async () => (await sides.show("late")).state === "running", "late runs");
}

/** A new master has it from the others, and acts by it. */
async function loseMasterAndHost(t: TestContext, sides: Sides, master: number): Promise<void> {
  const host = numberOf((await sides.show("late")).host!);
  await sides.counts(host, "late");
  sides.asked = sides.cluster.numbers.find((one) => one !== master && one !== host)!;
  await sides.cluster.cutPower(master);
  const electedMs = await until(
    async () => ![undefined, master].includes(await sides.master()),
    "another master decides",
  );
  t.diagnostic(`another master decides ${electedMs} ms after the power of the first was cut`);
  assert.ok(await sides.isProtected("late"));
  const begin = performance.now();
  await sides.cluster.cutPower(host);
  await sides.runsElsewhere("late", host);
  const tookMs = Math.round(performance.now() - begin);
  t.diagnostic(`it counts elsewhere ${tookMs} ms after the power of its host was cut`);
  assert.ok(tookMs < SLACK * MOVE_MS_MAX, `it took ${tookMs} ms`);
}

/** With no side that has a majority nothing counts as protected; healed, it does by itself. */
async function withoutMajority(sides: Sides, dead: readonly number[]): Promise<void> {
  const [first, second, ...more] = sides.cluster.numbers.filter((one) => !dead.includes(one));
  for (const machine of sides.cluster.numbers) await sides.cluster.machines.mend(machine);
  await sides.split([first!], [second!], more);
  await sides.cli("vm", "unprotect", "late");
  await sides.cli("vm", "protect", "late");
  await until(async () => {
    const last = (await sides.show("late")).history.at(-1);
    return last?.what === "not protected yet";
  }, "nobody can write it down");
  assert.equal(await sides.isProtected("late"), false);
  for (const machine of sides.cluster.numbers) await sides.cluster.machines.mend(machine);
  await until(async () => await sides.isProtected("late"), "late is protected again");
}

test(
  "a split of storage into two and three leaves machines and decisions to the larger side",
  { skip: namespacesMissing() ?? etcdMissing() ?? false },
  async (t) => {
    process.env["DRYSTONE_ACCEL"] = "tcg";
    const options = { hostCount: HOSTS, etcdCount: 1, hasDemo: false };
    const sides = new Sides(await MachineCluster.create(t, options));
    const begun = await prepare(sides);
    await moveToLarger(t, sides, begun);
    await protectThroughOthers(t, sides);
    if (!isLong) return;
    const host = numberOf((await sides.show("late")).host!);
    await loseMasterAndHost(t, sides, begun.master);
    await withoutMajority(sides, [begun.master, host]);
  },
);
