/**
 * Hosts on simulated machines, a directory on another, and virtual machines that must run on one of
 * them and never on two.
 */
import assert from "node:assert/strict";
import { assertDefined, CodedError } from "../../src/base/index.ts";
import {
  createVm,
  EmbeddedDirectory,
  findVm,
  isProtected as isProtectedNow,
  RemoteDirectoryClient,
  ServedDirectory,
  swapVm,
} from "../../src/cluster/index.ts";
import type { VmRecord } from "../../src/cluster/index.ts";
import { VmHost } from "../../src/ha/index.ts";
import type { HaRules, VmCapacity } from "../../src/ha/index.ts";
import type { NetworkAddress } from "../../src/ports/index.ts";
import { MetadataMedium, NetworkFabric, SimHypervisor, SimLog } from "../../src/sim/index.ts";
import { SimMachine, SimMetadataStore, SimNetwork, Simulation } from "../../src/sim/index.ts";
import { SimHomes } from "./sim-homes.ts";

export const CLUSTER: string = "c1".repeat(16);
export const DIRECTORY = "10.2.0.200";
const ADDRESS: NetworkAddress = { kind: "tcp", host: DIRECTORY, port: 2379 };
export const FAILOVER_MS_MAX = 10_000;

export class Host {
  readonly id: string;
  readonly address: string;
  readonly attached: Set<string> = new Set();
  readonly #world: World;
  machine: SimMachine;
  hypervisor: SimHypervisor;
  host: VmHost | undefined;
  /** Waited for before what was read of the directory, under a prefix, is known here. */
  beforeKnown: ((prefix: string) => Promise<void>) | undefined;
  #starts = 0;

  constructor(world: World, number: number) {
    this.#world = world;
    this.id = `h${number}`;
    this.address = `10.2.0.${number}`;
    this.machine = new SimMachine(world.simulation);
    this.hypervisor = this.#newHypervisor();
  }

  start(): void {
    const { machine } = this;
    const { clock } = machine;
    const log = new SimLog(clock);
    const network = new SimNetwork(machine, this.#world.fabric, [this.address]);
    const directory = new RemoteDirectoryClient({ network, address: ADDRESS, clock, log });
    const late = <T>(read: (prefix: string) => Promise<T>): ((prefix: string) => Promise<T>) => {
      return async (prefix) => {
        const found = await read(prefix);
        await this.beforeKnown?.(prefix);
        return found;
      };
    };
    directory.list = late(directory.list.bind(directory));
    directory.stamp = late(directory.stamp.bind(directory));
    this.host = new VmHost({
      directory,
      hypervisor: this.hypervisor,
      clock,
      log,
      clusterId: CLUSTER,
      hostId: this.id,
      incarnation: ++this.#starts,
      attach: async (volume) => {
        if (this.#world.lostVolumes.has(volume))
          throw new CodedError({ code: "object-inaccessible", message: `no copy of ${volume}` });
        const others = this.#world.hosts.filter(
          (host) => host !== this && host.attached.has(volume),
        );
        if (others.length > 0) this.#world.sharedVolumes.push(volume);
        this.attached.add(volume);
        return { vhostSocket: `/run/${volume}` };
      },
      detach: async (volume) => void this.attached.delete(volume),
      expect: async (volume) => ({ vhostSocket: `/run/${volume}` }),
      ways: {
        offer: async (_vm, socket) => socket,
        reach: async (_vm, _hostId, address) => address,
        close: () => {},
      },
      storage: this.#world.homes.storageOf(this.id),
      peers: this.#world.homes.peers(),
      capacity: this.#world.capacity,
      nameOf: (hostId) => hostId,
      addEvent: ({ kind }) => void this.#world.events.push(`${this.id} ${kind}`),
      ...(this.#world.rules === undefined ? {} : { rules: this.#world.rules }),
    });
    this.host.start();
  }

  cutPower(): void {
    this.hypervisor.end();
    this.#dies();
    this.hypervisor = this.#newHypervisor();
  }

  /** The process dies and the machines run on. */
  kill(): void {
    this.#dies();
  }

  async stop(): Promise<void> {
    await this.host?.close();
    this.#dies();
  }

  #dies(): void {
    this.host = undefined;
    this.attached.clear();
    this.machine.cutPower({ kind: "all" });
    this.machine = new SimMachine(this.#world.simulation);
  }

  #newHypervisor(): SimHypervisor {
    // The guard's clock is the machine's, which goes on when the host process dies.
    return new SimHypervisor(
      this.#world.simulation.clock,
      (vmId, isExecuting) => this.#world.executes(this.id, vmId, isExecuting),
      this.#world.arrivals,
    );
  }
}

export class World {
  readonly simulation: Simulation;
  readonly fabric: NetworkFabric;
  readonly hosts: readonly Host[];
  readonly events: string[] = [];
  /** Taken by a host while another one had them: the store refuses the older one's requests. */
  readonly sharedVolumes: string[] = [];
  readonly arrivals: Map<string, SimHypervisor> = new Map();
  readonly lostVolumes: Set<string> = new Set();
  readonly homes: SimHomes;
  /** Machines that began to execute on one host while they did on another. */
  readonly doubles: string[] = [];
  readonly rules: HaRules | undefined;
  /** Of each host. */
  capacity: VmCapacity = { memoryBytes: 16 * 2 ** 30, cpuCount: 8 };
  readonly #executing = new Map<string, string>();
  readonly #directoryMachine: SimMachine;
  #directory: EmbeddedDirectory | undefined;

  constructor(seed: number, hostCount: number, rules?: HaRules) {
    this.rules = rules;
    this.simulation = new Simulation({ seed });
    this.fabric = new NetworkFabric(this.simulation);
    this.#directoryMachine = new SimMachine(this.simulation);
    this.hosts = Array.from({ length: hostCount }, (_, i) => new Host(this, i + 1));
    const ids = this.hosts.map(({ id }) => id);
    this.homes = new SimHomes(this.simulation.clock, ids);
    this.homes.find = async (vm) => (await findVm(this.directory, CLUSTER, vm)).record;
  }

  get directory(): EmbeddedDirectory {
    return assertDefined(this.#directory, "not built");
  }

  /** Asserts that a machine executes in one place. */
  executes(hostId: string, vmId: string, isExecuting: boolean): void {
    const where = this.#executing.get(vmId);
    if (!isExecuting) {
      if (where === hostId) this.#executing.delete(vmId);
      return;
    }
    if (where !== undefined) this.doubles.push(`${vmId} on ${where} and ${hostId}`);
    assert.equal(where, undefined, `${vmId} runs on ${where} and starts on ${hostId}`);
    this.#executing.set(vmId, hostId);
  }

  whereIs(vmId: string): string | undefined {
    return this.#executing.get(vmId);
  }

  host(id: string | undefined): Host {
    return assertDefined(
      this.hosts.find((one) => one.id === id),
      "no such host",
    );
  }

  async build(): Promise<void> {
    const machine = this.#directoryMachine;
    const { clock } = machine;
    const store = new SimMetadataStore(machine, new MetadataMedium());
    this.#directory = await EmbeddedDirectory.open(store, clock);
    const network = new SimNetwork(machine, this.fabric, [DIRECTORY]);
    await ServedDirectory.listen({
      directory: this.#directory,
      network,
      address: ADDRESS,
      clock,
      incarnation: "1",
    });
    for (const host of this.hosts) host.start();
  }

  async change(
    name: string,
    change: Partial<VmRecord> | ((record: VmRecord) => Partial<VmRecord>),
  ): Promise<void> {
    for (;;) {
      const stored = await findVm(this.directory, CLUSTER, name);
      const next = typeof change === "function" ? change(stored.record) : change;
      if (await swapVm(this.directory, CLUSTER, stored, { ...stored.record, ...next })) return;
    }
  }

  async until(condition: () => boolean | Promise<boolean>, ms: number): Promise<void> {
    const endMs = this.simulation.nowMs + ms;
    while (!(await condition())) {
      assert.ok(this.simulation.nowMs < endMs, `it did not come: ${this.events.join(", ")}`);
      await this.pass(20);
    }
  }

  async pass(ms: number): Promise<void> {
    await new Promise<void>((resolve) => void this.simulation.clock.after(ms, resolve));
  }
}

export const vm = (name: string, isProtected = true): VmRecord => ({
  name,
  volumes: [`${name}-disk`],
  cpuCount: 1,
  memoryBytes: 1 << 28,
  boot: { kind: "disk" },
  networks: [],
  isProtected,
  protectionSequence: 1,
  persistedSequence: 0,
  isLeaving: false,
  priority: 2,
  antiAffinity: undefined,
  failureCount: 0,
  lastFailureMs: 0,
  desired: "running",
  hostId: undefined,
  epoch: 0,
  startedEpoch: 0,
  history: [],
});

export async function cluster(
  seed: number,
  work: (world: World) => Promise<void>,
  hostCount = 3,
  rules?: HaRules,
): Promise<void> {
  const world = new World(seed, hostCount, rules);
  await world.simulation.run(async () => {
    await world.build();
    await work(world);
  });
  // A start that fails so is only told of by its host.
  if (rules === undefined) assert.deepEqual(world.doubles, []);
}

export async function running(world: World, name: string): Promise<Host> {
  await createVm(world.directory, CLUSTER, vm(name));
  await world.until(() => world.whereIs(name) !== undefined, 5000);
  const isSafe = async (): Promise<boolean> =>
    isProtectedNow((await findVm(world.directory, CLUSTER, name)).record);
  await world.until(isSafe, 5000);
  return world.host(world.whereIs(name));
}
