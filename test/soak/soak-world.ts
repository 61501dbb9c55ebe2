/** The cluster of a soak: a development cluster, what can be done to it, and waiting for it. */
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Prng } from "../../src/base/index.ts";
import { callOperation } from "../../src/host/api/api-routes.ts";
import type { OperationName, RequestOf, ResponseOf, VolumeView } from "../../src/host/index.ts";
import type { ClusterRun } from "../e2e/cluster-run.ts";
import { flipBit } from "../e2e/damage.ts";
import type { Place } from "../e2e/damage.ts";
import { processTree } from "../e2e/process.ts";
import type { Fault, Step } from "./soak-plan.ts";

const BLOCK = 4096;
const DAMAGED_BLOCKS = 200;
/** Superblocks are before it. */
const FIRST_BLOCK = 256;
const PLACE_TRIES_MAX = 100_000;
const LOOK_MS = 250;
const CALL_MS_MAX = 30_000;
const WHOLE_MS_MAX = 240_000;

export type Mend = () => Promise<void>;

export class SoakWorld {
  readonly cluster: ClusterRun;
  readonly hosts: readonly string[];
  /** Hosts to which something was done that is not mended yet; nobody asks them. */
  readonly hurtHosts: Set<string> = new Set();
  /** Checksum errors that hosts with damaged disks have met. */
  damageSeen = 0;
  readonly #repairDelaySeconds: number;
  readonly #prng: Prng;

  constructor(cluster: ClusterRun, hostCount: number, repairDelaySeconds: number, prng: Prng) {
    this.cluster = cluster;
    this.#prng = prng;
    this.hosts = Array.from({ length: hostCount }, (_none, index) => `h${index + 1}`);
    this.#repairDelaySeconds = repairDelaySeconds;
  }

  get demo(): { readonly socket: string; readonly exportName: string } {
    return { socket: path.join(this.cluster.folder, "demo.sock"), exportName: "demo" };
  }

  call<N extends OperationName>(
    host: string,
    name: N,
    request: RequestOf<N>,
  ): Promise<ResponseOf<N>> {
    const signal = AbortSignal.timeout(CALL_MS_MAX);
    return callOperation(this.cluster.api(Number(host.slice(1))), name, request, { signal });
  }

  /** A host that nothing was done to. */
  wellHost(besides?: string): string {
    const found = this.hosts.find((host) => host !== besides && !this.hurtHosts.has(host));
    if (found === undefined) throw new Error("no host is well");
    return found;
  }

  async show(name: string, besides?: string): Promise<VolumeView> {
    return await this.call(this.wellHost(besides), "volume.show", { name });
  }

  /** The host that a step is about; `spared` is not ended. */
  async hostOf({ target, fault }: Step, spared: string, isEnding: boolean): Promise<string> {
    const shown = await this.show("demo");
    const server = shown.attachment?.host ?? shown.owner ?? this.hosts[0]!;
    const copies = shown.components.map(({ host }) => host);
    const other = copies.find((host) => host !== server) ?? server;
    const wanted =
      typeof target === "number" ? this.hosts[target - 1]! : target === "server" ? server : other;
    if (!isEnding || wanted !== spared) return wanted;
    const others = this.hosts.filter((host) => host !== spared);
    const [next] = [...others.filter((host) => copies.includes(host)), ...others];
    if (next === undefined) throw new Error(`there is no host for ${fault}`);
    return next;
  }

  /** Resolves, once it has happened, with what mends it. */
  async hurt(fault: Fault, host: string): Promise<Mend> {
    const { cluster } = this;
    switch (fault) {
      case "none":
        return async () => undefined;
      case "kill":
      case "stop":
        await this.#end(fault, host);
        return () => this.#start(host);
      case "freeze":
        return this.#freeze(this.#pidOf(`/${host}/host.json`), host);
      case "cut-storage":
      case "cut-management":
      case "cut-both":
        this.hurtHosts.add(host);
        await cluster.dev("partition", host, "--network", fault.slice("cut-".length));
        return async () => {
          await cluster.dev("heal");
          this.hurtHosts.delete(host);
        };
      case "directory-kill":
        // Its keeper starts it again.
        process.kill(this.#pidOf(memberOf(host)), "SIGKILL");
        return async () => undefined;
      case "directory-freeze":
        return this.#freeze(this.#pidOf(memberOf(host)));
      case "away":
        await this.#end("kill", host);
        await sleep(this.#repairDelaySeconds * 1000);
        await this.untilWhole(["demo"], host);
        return () => this.#start(host);
      case "wipe":
        await this.#end("kill", host);
        fs.rmSync(this.#deviceOf(host), { recursive: true });
        return () => this.#start(host);
      case "damage":
        return await this.#damage(host);
      case "evacuate":
        return await this.#evacuate(host);
    }
  }

  /** Until every copy of these is there and takes part, on hosts that are not left out. */
  async untilWhole(names: readonly string[], without?: string): Promise<void> {
    const limit = performance.now() + WHOLE_MS_MAX;
    let last = "";
    for (;;) {
      try {
        const shown = await Promise.all(names.map((name) => this.show(name, without)));
        const isWhole = shown.every(
          ({ components, change, accessible }) =>
            accessible &&
            change === undefined &&
            components.every(({ state, host }) => state === "active" && host !== without),
        );
        if (isWhole) return;
        last = shown.map(({ name, components }) => `${name}: ${wordsOf(components)}`).join("; ");
      } catch (error) {
        last = String(error);
      }
      if (performance.now() > limit) throw new Error(`it does not become whole: ${last}`);
      await sleep(LOOK_MS);
    }
  }

  /** SIGKILL for everything there is, and another start. */
  async cutPower(): Promise<void> {
    await this.cutPowerForGood();
    await this.cluster.start();
  }

  async cutPowerForGood(): Promise<void> {
    const pids = this.cluster.pids;
    await this.cluster.kill();
    for (const pid of pids) await ended(pid);
  }

  async #end(how: "kill" | "stop", host: string): Promise<void> {
    this.hurtHosts.add(host);
    await this.cluster.dev(how, host);
  }

  async #start(host: string): Promise<void> {
    try {
      await this.cluster.dev("start", host);
    } catch (error) {
      // A machine that is loaded well takes longer than the development cluster waits.
      if (!String(error).includes("was not ready")) throw error;
    }
    await this.#answering(host);
    this.hurtHosts.delete(host);
  }

  async #answering(host: string): Promise<void> {
    const limit = performance.now() + WHOLE_MS_MAX;
    for (;;) {
      try {
        await this.call(host, "host.list", {});
        return;
      } catch (error) {
        if (performance.now() > limit)
          throw new Error(`${host} does not answer after its start`, { cause: error });
      }
      await sleep(LOOK_MS);
    }
  }

  #freeze(pid: number, host?: string): Mend {
    if (host !== undefined) this.hurtHosts.add(host);
    process.kill(pid, "SIGSTOP");
    return async () => {
      process.kill(pid, "SIGCONT");
      if (host !== undefined) this.hurtHosts.delete(host);
    };
  }

  /** Bits of stored blocks turn over; then the disk is replaced by an empty one. */
  async #damage(host: string): Promise<Mend> {
    await this.#end("stop", host);
    for (const block of storedBlocks(this.#deviceOf(host), DAMAGED_BLOCKS, this.#prng))
      flipBit(block, this.#prng.below(BLOCK), this.#prng.below(8));
    await this.#start(host);
    this.hurtHosts.add(host);
    await this.untilWhole(["demo"]);
    return async () => {
      const { devices } = await this.call(host, "device.list", {});
      for (const one of devices) if (one.host === host) this.damageSeen += one.checksumErrors;
      await this.#end("kill", host);
      fs.rmSync(this.#deviceOf(host), { recursive: true });
      await this.#start(host);
    };
  }

  #deviceOf(host: string): string {
    return path.join(this.cluster.folder, host, "device");
  }

  async #evacuate(host: string): Promise<Mend> {
    const asked = this.wellHost(host);
    await this.call(asked, "host.maintenance-on", { name: host, mode: "evacuate" });
    const off = async (): Promise<void> => {
      await this.call(asked, "host.maintenance-off", { name: host });
    };
    try {
      await this.untilWhole(["demo"], host);
    } catch (error) {
      await off();
      throw error;
    }
    return off;
  }

  /** The process of the cluster whose command line has this in it. */
  #pidOf(part: string): number {
    const [supervisor] = this.cluster.pids;
    const found = (supervisor === undefined ? [] : processTree(supervisor)).find((pid) =>
      commandLine(pid).includes(part),
    );
    if (found === undefined) throw new Error(`no process of the cluster has ${part}`);
    return found;
  }
}

/** Random blocks of a device's file that are not zero, those of its superblocks left out. */
function storedBlocks(device: string, count: number, prng: Prng): readonly Place[] {
  const file = path.join(device, "data");
  const handle = fs.openSync(file, "r");
  const places: Place[] = [];
  try {
    const blocks = Math.floor(fs.fstatSync(handle).size / BLOCK);
    const block = Buffer.alloc(BLOCK);
    for (let tries = 0; places.length < count && tries < PLACE_TRIES_MAX; tries++) {
      const offset = prng.between(FIRST_BLOCK, blocks - 1) * BLOCK;
      fs.readSync(handle, block, 0, BLOCK, offset);
      if (block.some((byte) => byte !== 0)) places.push({ file, offset });
    }
  } finally {
    fs.closeSync(handle);
  }
  return places;
}

function wordsOf(components: VolumeView["components"]): string {
  return components.map(({ host, state }) => `${host} ${state}`).join(", ");
}

/** Three members for any number of hosts. */
function memberOf(host: string): string {
  return `/etcd/m${((Number(host.slice(1)) - 1) % 3) + 1}`;
}

function commandLine(pid: number): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return ""; // It has ended meanwhile.
  }
}

/** What has no parent any more goes too: members of the directory are in groups of their own. */
async function ended(pid: number): Promise<void> {
  while (commandLine(pid) !== "") {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      return; // It has ended meanwhile.
    }
    await sleep(20);
  }
}
