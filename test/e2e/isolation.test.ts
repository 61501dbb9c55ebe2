/**
 * What becomes of machines whose host is cut off from the directory, or from the others' storage:
 * one of each kind on one host of a cluster of processes, under real QEMUs.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { ClusterRun } from "./cluster-run.ts";
import { countersIn, writeCountingKernel } from "./counting-kernel.ts";
import { temporaryFolder } from "./harness.ts";

const STEP_MS_MAX = 60_000;
const HOSTS = ["h1", "h2", "h3"] as const;
/** By name: what it is told, and whether others may start it. */
const MACHINES = {
  still: ["--isolation", "stand-still"],
  shut: ["--isolation", "shut-down"],
  off: ["--isolation", "power-off"],
  stay: ["--unprotected", "--isolation", "leave"],
  bound: ["--storage-loss", "leave"],
} as const;
type Name = keyof typeof MACHINES;
const NAMES = Object.keys(MACHINES) as readonly Name[];

interface VmShown {
  readonly name: string;
  readonly state: string;
  readonly host?: string;
  readonly protection: string;
  readonly epoch: number;
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + STEP_MS_MAX;
  while (!(await condition())) {
    assert.ok(performance.now() < endMs, `it did not come that ${what}`);
    await pause(100);
  }
}

class Machines {
  readonly cluster: ClusterRun;

  constructor(cluster: ClusterRun) {
    this.cluster = cluster;
  }

  async all(asked: number): Promise<ReadonlyMap<string, VmShown>> {
    const { vms } = await this.cluster.cli<{ vms: readonly VmShown[] }>(asked, ["vm", "list"]);
    return new Map(vms.map((vm) => [vm.name, vm]));
  }

  /** Its process there; undefined if it has none. */
  pid(host: string, name: Name): number | undefined {
    const file = path.join(this.#folder(host, name), "vm.json");
    if (!fs.existsSync(file)) return undefined;
    const { pid } = JSON.parse(fs.readFileSync(file, "utf8")) as { readonly pid: number };
    return fs.existsSync(`/proc/${pid}/stat`) ? pid : undefined;
  }

  /** The last number that its guest has printed there. */
  said(host: string, name: Name): number {
    return countersIn(path.join(this.#folder(host, name), "serial.log")).at(-1) ?? 0;
  }

  begins(host: string, name: Name): number | undefined {
    return countersIn(path.join(this.#folder(host, name), "serial.log"))[0];
  }

  async counts(host: string, name: Name): Promise<void> {
    const before = this.said(host, name);
    await until(() => this.said(host, name) > before, `${name} counts on ${host}`);
  }

  #folder(host: string, name: Name): string {
    return path.join(this.cluster.folder, host, "state", "vms", name);
  }
}

/** All on h1: the others are out of service when they start. */
async function startOnFirst(machines: Machines, kernel: string): Promise<void> {
  const { cluster } = machines;
  for (const name of NAMES) {
    const size = ["--size", "16M", "--failures-to-tolerate", "1"];
    await cluster.cli(1, ["volume", "create", name, ...size]);
    const machine = ["--volume", name, "--memory", "16M", "--kernel", kernel];
    await cluster.cli(1, ["vm", "create", name, ...machine, ...MACHINES[name]]);
  }
  for (const host of HOSTS.slice(1))
    await cluster.cli(1, ["host", "maintenance", "on", host, "--mode", "none"]);
  for (const name of NAMES) await cluster.cli(1, ["vm", "start", name]);
  const areAll = async (isSo: (vm: VmShown) => boolean): Promise<boolean> => {
    const vms = [...(await machines.all(1)).values()];
    return vms.length === NAMES.length && vms.every(isSo);
  };
  const isThere = ({ state, host }: VmShown): boolean => state === "running" && host === "h1";
  await until(() => areAll(isThere), "all run on h1");
  for (const host of HOSTS.slice(1)) await cluster.cli(1, ["host", "maintenance", "off", host]);
  const isSafe = ({ protection, name }: VmShown): boolean =>
    protection === (name === "stay" ? "unprotected" : "protected");
  await until(() => areAll(isSafe), "all are protected");
}

test("each machine of a host that is cut off does what it was told, and none is lost", async (t) => {
  process.env["DRYSTONE_ACCEL"] = "tcg";
  const folder = temporaryFolder(t);
  const kernel = path.join(folder, "c", "boot", "counting");
  writeCountingKernel(kernel);
  const cluster = await ClusterRun.create(path.join(folder, "c"));
  const machines = new Machines(cluster);
  t.after(() => cluster.kill());
  await startOnFirst(machines, kernel);
  for (const name of NAMES) await machines.counts("h1", name);
  const stays = machines.pid("h1", "stay");

  const begin = performance.now();
  await cluster.dev("partition", "--network", "management", "h1");
  const movers = NAMES.filter((name) => name !== "stay");
  await until(async () => {
    const vms = await machines.all(2);
    return movers.every((name) => {
      const { state, host } = vms.get(name)!;
      return state === "running" && host !== "h1";
    });
  }, "the others run elsewhere");
  t.diagnostic(`all run elsewhere after ${Math.round(performance.now() - begin)} ms`);
  // What stands still keeps its memory, until it is known to run elsewhere.
  assert.notEqual(machines.pid("h1", "still"), undefined);
  assert.notEqual(machines.pid("h1", "bound"), undefined);
  assert.equal(machines.pid("h1", "off"), undefined, "it was powered off");
  assert.equal(machines.pid("h1", "shut"), undefined, "it was shut down");
  assert.equal(machines.pid("h1", "stay"), stays);
  const places = await machines.all(2);
  for (const name of movers) {
    const host = places.get(name)?.host ?? "";
    await machines.counts(host, name);
    const [told, found] = [machines.said("h1", name), machines.begins(host, name) ?? 0];
    assert.ok(found > told, `${name} was told ${told} and began with ${found}`);
  }
  await cluster.dev("heal");
  await until(
    () => movers.every((name) => machines.pid("h1", name) === undefined),
    "what runs elsewhere has ended on h1",
  );
  assert.equal(machines.pid("h1", "stay"), stays);
  await machines.counts("h1", "stay");
  assert.equal((await machines.all(2)).get("stay")?.epoch, 1, "nothing has happened to it");

  await loseStorage(machines);
});

/** Both run on hosts that lose the others' storage: one stays and waits, one moves. */
async function loseStorage(machines: Machines): Promise<void> {
  const { cluster } = machines;
  const { host = "" } = (await machines.all(1)).get("bound")!;
  const asked = host === "h2" ? 3 : 2;
  if ((await machines.all(asked)).get("still")?.host !== host)
    await cluster.cli(asked, ["vm", "migrate", "still", "--host", host]);
  await until(
    async () => (await machines.all(asked)).get("still")?.host === host,
    "both run on one host",
  );
  await machines.counts(host, "still");
  await machines.counts(host, "bound");
  const [pid, before] = [machines.pid(host, "bound"), (await machines.all(asked)).get("bound")];
  await cluster.dev("partition", "--network", "storage", host);
  await until(async () => {
    const { state, host: now } = (await machines.all(asked)).get("still")!;
    return state === "running" && now !== host;
  }, "the one that moves runs elsewhere");
  assert.deepEqual((await machines.all(asked)).get("bound"), before);
  assert.equal(machines.pid(host, "bound"), pid);
  await cluster.dev("heal");
  await machines.counts(host, "bound");
  assert.equal(machines.pid(host, "bound"), pid, "it went on where it was");
}
