/**
 * One simulated cluster of a given size, in a process of its own: what it costs while nothing
 * happens, and what happens when a host loses its power. Prints one line of JSON.
 *
 *   node dist/bench/scale-world.js HOSTS MACHINES VOLUMES
 *
 * Time is virtual, so that what is counted (messages, calls, bytes, when machines run again) does
 * not depend on this machine. Processor time is, and covers all hosts and the simulation itself.
 */
import { assertDefined } from "../src/base/index.ts";
import type { Directory } from "../src/ports/index.ts";
import { Depot, DrillWorld, exampleLayout } from "../src/trial/index.ts";
import type { DrillLayout } from "../src/trial/index.ts";

const BEGIN_MS_MAX = 240_000;
const SETTLE_MS = 5000;
const IDLE_MS = 10_000;
const RESTART_MS_MAX = 60_000;
const SEED = 7;

export interface ScaleFigures {
  readonly hosts: number;
  readonly machines: number;
  readonly volumes: number;
  /** Messages and bytes of all links between hosts, each end counting what it sends. */
  readonly linkMessagesPerSecond: number;
  readonly linkBytesPerSecond: number;
  readonly directoryCallsPerSecond: number;
  /** Of the records that lists answered. */
  readonly directoryBytesPerSecond: number;
  /** For a second of the cluster while nothing happens. */
  readonly idleCpuMs: number;
  /** Everything: hosts, directory, guests and what watches them. */
  readonly heapBytes: number;
  /**
   * Machines that ran on the host that lost its power, and when the first and the last ran again.
   */
  readonly restarts: number;
  readonly firstRestartMs: number;
  readonly lastRestartMs: number;
  readonly failoverDirectoryCalls: number;
  readonly failoverCpuMs: number;
}

interface DirectoryCounts {
  calls: number;
  bytes: number;
}

function layoutOf(hosts: number, machines: number, volumes: number): DrillLayout {
  const layout = exampleLayout(hosts, machines);
  const more = exampleLayout(hosts, Math.max(0, volumes - machines)).volumes;
  return {
    ...layout,
    // Room is not what is measured.
    hosts: layout.hosts.map((host) => ({ ...host, memoryBytes: 2 ** 42, cpuCount: 1024 })),
    volumes: [...layout.volumes, ...more.map((one) => ({ ...one, name: `idle-${one.name}` }))],
  };
}

/** In the place of the real calls, which the served directory and its clients go on making. */
function countCalls(directory: Directory): DirectoryCounts {
  const counts: DirectoryCounts = { calls: 0, bytes: 0 };
  const counted =
    <A extends unknown[], R>(call: (...asked: A) => R) =>
    (...asked: A): R => {
      counts.calls++;
      return call(...asked);
    };
  const list = directory.list.bind(directory);
  Object.assign(directory, {
    get: counted(directory.get.bind(directory)),
    stamp: counted(directory.stamp.bind(directory)),
    transact: counted(directory.transact.bind(directory)),
    keepAlive: counted(directory.keepAlive.bind(directory)),
    list: async (prefix: string) => {
      counts.calls++;
      const found = await list(prefix);
      for (const { key, value } of found.records) counts.bytes += key.length + value.length;
      return found;
    },
  });
  return counts;
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

class ScaleWorld {
  readonly #world: DrillWorld;
  readonly #layout: DrillLayout;

  constructor(layout: DrillLayout) {
    this.#layout = layout;
    this.#world = new DrillWorld(SEED, layout, { depot: new Depot(), onLine: undefined });
  }

  async measure(): Promise<ScaleFigures> {
    const { trial } = this.#world;
    await trial.prepare();
    return await trial.simulation.run(() => this.#measure());
  }

  async #measure(): Promise<ScaleFigures> {
    const { trial } = this.#world;
    await this.#world.build();
    await trial.until(() => this.#waiting().length === 0, BEGIN_MS_MAX);
    if (this.#waiting().length > 0) throw new Error("not all machines came up");
    await trial.pass(SETTLE_MS);
    const counts = countCalls(this.#world.directory());
    const idle = await this.#idle(counts);
    const failover = await this.#failover(counts);
    if (trial.failure !== undefined) throw new Error(JSON.stringify(trial.failure));
    const { hosts, machines, volumes } = this.#layout;
    const sizes = { hosts: hosts.length, machines: machines.length, volumes: volumes.length };
    return { ...sizes, ...idle, ...failover };
  }

  #waiting(): readonly string[] {
    const names = this.#layout.machines.map(({ name }) => name);
    return names.filter((name) => this.#world.whereIs(name) === undefined);
  }

  async #idle(counts: DirectoryCounts) {
    const { trial } = this.#world;
    const before = { ...counts, ...this.#traffic(), cpu: cpuMs() };
    await trial.pass(IDLE_MS);
    const seconds = IDLE_MS / 1000;
    const after = this.#traffic();
    const spent = cpuMs() - before.cpu;
    globalThis.gc?.();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return {
      linkMessagesPerSecond: (after.messages - before.messages) / seconds,
      linkBytesPerSecond: (after.sentBytes - before.sentBytes) / seconds,
      directoryCallsPerSecond: (counts.calls - before.calls) / seconds,
      directoryBytesPerSecond: (counts.bytes - before.bytes) / seconds,
      idleCpuMs: spent / seconds,
      heapBytes: heapUsed + arrayBuffers,
    };
  }

  #traffic(): { readonly messages: number; readonly sentBytes: number } {
    const all = this.#world.trial.hosts.flatMap(({ plane }) => plane?.links.counters ?? []);
    return {
      messages: all.reduce((sum, { messagesOut }) => sum + messagesOut, 0),
      sentBytes: all.reduce((sum, { bytesOut }) => sum + bytesOut, 0),
    };
  }

  async #failover(counts: DirectoryCounts) {
    const { trial } = this.#world;
    const host = assertDefined(trial.hosts[0], "there is a host");
    const lost = this.#layout.machines
      .map(({ name }) => name)
      .filter((name) => this.#world.whereIs(name) === host.name);
    const before = { calls: counts.calls, cpu: cpuMs(), atMs: trial.simulation.nowMs };
    const runCount = this.#world.runs.length;
    this.#world.cutPower(host);
    await trial.until(() => this.#waiting().length === 0, RESTART_MS_MAX);
    if (this.#waiting().length > 0) throw new Error("not all machines came back");
    const again = this.#world.runs
      .slice(runCount)
      .filter(({ isExecuting, machine }) => isExecuting && lost.includes(machine))
      .map(({ atMs }) => atMs - before.atMs);
    return {
      restarts: again.length,
      firstRestartMs: again.length === 0 ? 0 : Math.min(...again),
      lastRestartMs: again.length === 0 ? 0 : Math.max(...again),
      failoverDirectoryCalls: counts.calls - before.calls,
      failoverCpuMs: cpuMs() - before.cpu,
    };
  }
}

const [hosts, machines, volumes] = process.argv.slice(2).map(Number);
if (hosts === undefined || machines === undefined || volumes === undefined)
  throw new Error("expected HOSTS MACHINES VOLUMES");
const figures = await new ScaleWorld(layoutOf(hosts, machines, volumes)).measure();
console.log(JSON.stringify(figures));
process.exit(0);
