/** Virtual machines in a trial: what there is, and what must hold at every moment. */
import { assertDefined, Prng } from "../base/index.ts";
import {
  createVm,
  directoryKeys,
  EmbeddedDirectory,
  findVm,
  listVms,
  ServedDirectory,
  swapVm,
} from "../cluster/index.ts";
import type { VmRecord } from "../cluster/index.ts";
import type { HaRules } from "../ha/index.ts";
import type { NetworkAddress } from "../ports/index.ts";
import { MetadataMedium, NetworkFabric, SimMachine, Simulation } from "../sim/index.ts";
import type { SimHypervisor } from "../sim/index.ts";
import { SimMetadataStore, SimNetwork } from "../sim/index.ts";
import { GuestDisks } from "./guest-disks.ts";
import { HeartbeatCheck } from "./machine-heartbeats.ts";
import { MachineHost } from "./machine-host.ts";
import { planLayout } from "./machine-layout.ts";
import type { MachineKind, MachineLayout } from "./machine-layout.ts";
import type { MachineMutant } from "./machine-mutants.ts";
import { PlacementCheck } from "./machine-placements.ts";
import { CLUSTER_ID } from "./names.ts";
import { Trace } from "./trace.ts";
import { stackOf } from "./trial-host.ts";
import type { Failure, FailureKind } from "./trial-world.ts";

const DIRECTORY = "10.2.0.200";
const COPIES = 3;
export const CALL_MS: number = 10;
const CLOCK_SEED = 0x636c6f63;
/** Wall clocks jump by as much at most, back or forth. */
const JUMP_MS_MAX = 2 * 24 * 3600 * 1000;

/** What a guest has been told of a disk, and what it found there at each start. */
interface Counter {
  value: number;
  readonly begun: { readonly epoch: number; readonly value: number }[];
}

export class MachineWorld {
  readonly simulation: Simulation;
  readonly prng: Prng;
  /** Draws what clocks do, and nothing else: with them or without, a seed takes the same way. */
  readonly #clocks: Prng;
  readonly fabric: NetworkFabric;
  readonly disks: GuestDisks;
  readonly heartbeats: HeartbeatCheck;
  readonly trace: Trace;
  readonly hosts: readonly MachineHost[];
  readonly mutant: MachineMutant | undefined;
  readonly rules: HaRules;
  readonly directoryAddress: NetworkAddress = { kind: "tcp", host: DIRECTORY, port: 2379 };
  isOver = false;
  failure: Failure | undefined;
  /** Guests' writes that were acknowledged. */
  requests = 0;
  /** What hosts ask each other takes so long each way. */
  callMs: number = CALL_MS;
  #directory: EmbeddedDirectory | undefined;
  readonly #executing = new Map<string, string>();
  readonly #volumes = new Map<string, readonly string[]>();
  /** By disk. */
  readonly #counters = new Map<string, Counter>();
  readonly layout: MachineLayout;
  readonly placements: PlacementCheck;
  readonly #failures = new Map<string, number>();
  readonly #starts = new Map<string, number>();
  /** Where machines that move are waited for. */
  readonly arrivals: Map<string, SimHypervisor> = new Map();
  #cut: readonly string[] = [];

  constructor(seed: number, mutant?: MachineMutant, onLine?: (line: string) => void) {
    this.mutant = mutant;
    this.rules = {
      isWaitingFree: mutant?.isWaitingAnAttempt !== true,
      isReadUnderLease: mutant?.actsOnOldRecords !== true,
      isReadAfterStarts: mutant?.startsAgainByOldRecords !== true,
      isPersistedFirst: mutant?.isProtectedAtOnce !== true,
      isWaitingSinceAsked: mutant?.waitsSinceInsert !== true,
      areOthersAsked: mutant?.asksNobodyElse !== true,
      areHeartbeatsHeard: mutant?.isDeafToStorage !== true,
      isComparedFirst: mutant?.overwritesRecords !== true,
      isLeaseGoneFirst: mutant?.takesFromTheLiving !== true,
      isEndedFirst: mutant?.placesBeforeItEnds !== true,
      isOfficeHeld: mutant?.decidesWithoutOffice !== true,
      isDisarmedHeeded: mutant?.takesWhileDisarmed !== true,
      isArmedStill: mutant?.armedAsItWas !== true,
      isUnboundTold: mutant?.unboundInSilence !== true,
      isUnreadableLeft: mutant?.endsTheUnreadable !== true,
    };
    this.simulation = new Simulation({ seed });
    this.prng = this.simulation.prng.fork();
    this.#clocks = new Prng(seed ^ CLOCK_SEED);
    this.fabric = new NetworkFabric(this.simulation);
    this.trace = new Trace(() => this.simulation.nowMs, onLine);
    const hostCount = 3 + this.prng.below(3);
    const { clock } = this.simulation;
    const ids = Array.from({ length: hostCount }, (_, i) => `h${i + 1}`);
    const isFenced = mutant?.startsWithoutOwnership !== true;
    this.disks = new GuestDisks(clock, this.prng.fork(), ids, isFenced);
    this.layout = planLayout(seed, hostCount, 2 + this.prng.below(5));
    this.hosts = ids.map((_, i) => new MachineHost(this, i + 1));
    const memoryBytesOf = (id: string): number => this.layout.memoryBytes[ids.indexOf(id)]!;
    const isDown = (id: string): boolean => !this.host(id).isUp;
    const fail = (kind: FailureKind, what: string): void => this.fail(kind, what);
    this.placements = new PlacementCheck(memoryBytesOf, isDown, fail);
    const hears = (one: string, other: string): boolean =>
      !this.isCut(one) && this.disks.reaches(one, other);
    this.heartbeats = new HeartbeatCheck(ids, () => this.simulation.nowMs, hears);
    this.disks.onReach = () => this.heartbeats.look();
  }

  get directory(): EmbeddedDirectory {
    return assertDefined(this.#directory, "not built");
  }

  get names(): readonly string[] {
    return [...this.#volumes.keys()];
  }

  async build(): Promise<void> {
    const machine = new SimMachine(this.simulation);
    const { clock } = machine;
    const store = new SimMetadataStore(machine, new MetadataMedium());
    this.#directory = await EmbeddedDirectory.open(store, clock);
    const network = new SimNetwork(machine, this.fabric, [DIRECTORY]);
    const { directory, directoryAddress: address } = this;
    await ServedDirectory.listen({ directory, network, address, clock, incarnation: "1" });
    this.#watchProtection();
    this.placements.follow(this.directory);
    for (const host of this.hosts) host.start();
    for (const [number, kind] of this.layout.machines.entries())
      await this.#create(`vm${number}`, kind);
  }

  /** What the directory calls persisted is in the machine's home, from the first moment on. */
  #watchProtection(): void {
    const prefix = directoryKeys.vms(CLUSTER_ID);
    const onEvent = async (): Promise<void> => {
      const { vms } = await listVms(this.directory, CLUSTER_ID);
      for (const { record } of vms) {
        this.#checkProtection(record);
        const wrong = this.heartbeats.whatIsWrong(record);
        if (wrong !== undefined) this.fail("heartbeat", wrong);
      }
    };
    const look = (): void => void onEvent().catch((error: unknown) => this.crashed(error));
    this.directory.watch(prefix, 1, look, () => this.#watchProtection());
  }

  #checkProtection({ name, persistedSequence: said }: VmRecord): void {
    const held = this.disks.homeOf(name)?.sequence ?? 0;
    if (said > held)
      this.fail("protection", `${name} counts as persisted at ${said}, its home says ${held}`);
  }

  async #create(name: string, { diskCount, memoryBytes, group }: MachineKind): Promise<void> {
    const ids = this.hosts.map(({ id }) => id);
    const volumes = Array.from({ length: diskCount }, (_, i) =>
      i === 0 ? `${name}-disk` : `${name}-disk${i + 1}`,
    );
    for (const disk of volumes) {
      const first = this.prng.below(ids.length);
      const places = Array.from({ length: COPIES }, (_, i) => ids[(first + i) % ids.length]!);
      this.disks.create(disk, places);
      this.#counters.set(disk, { value: 0, begun: [] });
    }
    this.#volumes.set(name, volumes);
    await createVm(this.directory, CLUSTER_ID, {
      ...newVm(name, this.prng.below(5)),
      volumes,
      memoryBytes,
      antiAffinity: group,
      isolation: this.prng.pick(["stand-still", "shut-down", "power-off"]),
    });
  }

  host(id: string): MachineHost {
    return assertDefined(
      this.hosts.find((one) => one.id === id),
      "no such host",
    );
  }

  /** Those hosts reach neither the directory nor other HA modules; all others do. */
  cut(hosts: readonly MachineHost[]): void {
    this.#cut = hosts.map(({ id }) => id);
    this.heartbeats.look();
    this.fabric.heal();
    const addresses = hosts.map(({ address }) => address);
    if (addresses.length > 0) this.fabric.partition(addresses, [DIRECTORY]);
  }

  /** A host's wall clock jumps, now and then. */
  mayJump(): void {
    if (!this.#clocks.chance(0.2)) return;
    const host = this.#clocks.pick(this.hosts);
    const range = this.#clocks.pick([2000, 60_000, 3600_000, JUMP_MS_MAX]);
    const ms = this.#clocks.below(2 * range) - range;
    this.trace.add(host.id, `its wall clock jumps by ${ms} ms`);
    host.setWallOffset(host.wallOffsetMs + ms);
  }

  /** What the directory answers that host, and tells it, is on its way until it is let go. */
  holdAnswers({ address }: MachineHost, isHeld: boolean): void {
    if (isHeld) this.fabric.block(DIRECTORY, address);
    else this.fabric.unblock(DIRECTORY, address);
  }

  isCut(hostId: string): boolean {
    return this.#cut.includes(hostId);
  }

  whereIs(vm: string): string | undefined {
    return this.#executing.get(vm);
  }

  volumesOf(vm: string): readonly string[] {
    return assertDefined(this.#volumes.get(vm), "no such machine");
  }

  /** What its guest has been told of that disk. */
  toldOf(disk: string): number {
    return this.#counters.get(disk)!.value;
  }

  /** Of the disk of which it has been told the least. */
  counterOf(vm: string): number {
    return Math.min(...this.volumesOf(vm).map((disk) => this.toldOf(disk)));
  }

  /** Starts of it that have failed. */
  failuresOf(vm: string): number {
    return this.#failures.get(vm) ?? 0;
  }

  /** From its disks, with nothing in its memory. */
  startsOf(vm: string): number {
    return this.#starts.get(vm) ?? 0;
  }

  started(vm: string): void {
    this.#starts.set(vm, this.startsOf(vm) + 1);
  }

  failed(vm: string): void {
    this.#failures.set(vm, this.failuresOf(vm) + 1);
  }

  executes(host: string, vm: string, isExecuting: boolean): void {
    const where = this.#executing.get(vm);
    this.trace.add(host, `${vm} ${isExecuting ? "executes" : "does not execute"}`);
    if (isExecuting && where !== undefined && where !== host)
      this.fail("two-machines", `${vm} executes on ${where} and on ${host}`);
    if (isExecuting) this.#executing.set(vm, host);
    else if (where === host) this.#executing.delete(vm);
  }

  booted(disk: string, epoch: number, value: number): void {
    const counter = this.#counters.get(disk)!;
    this.trace.add(disk, `begins with ${value}`);
    if (value < counter.value)
      this.fail("lost-write", `${disk} has ${value}, its guest was told ${counter.value}`);
    counter.begun.push({ epoch, value });
  }

  /** An answer may be late: what it tells of then was found by all who have begun since. */
  acknowledged(disk: string, epoch: number, value: number): void {
    const counter = this.#counters.get(disk)!;
    this.requests++;
    const later = counter.begun.find((one) => one.epoch > epoch);
    if (later !== undefined && value > later.value)
      this.fail(
        "two-writers",
        `${disk} is told ${value} at epoch ${epoch}, and began with ${later.value} at ${later.epoch}`,
      );
    if (later === undefined && value <= counter.value)
      this.fail("two-writers", `${disk} is told ${value} after ${counter.value}`);
    counter.value = Math.max(counter.value, value);
  }

  crashed(error: unknown): void {
    this.fail("crash", stackOf(error));
  }

  /** Only the first failure counts: what follows may follow from it. */
  fail(kind: FailureKind, what: string): void {
    if (this.failure !== undefined) return;
    this.failure = { kind, what, atMs: this.simulation.nowMs };
    this.trace.add("trial", `FAILED (${kind}): ${what}`);
  }

  async record(name: string): Promise<VmRecord> {
    return (await findVm(this.directory, CLUSTER_ID, name)).record;
  }

  async change(name: string, of: (record: VmRecord) => Partial<VmRecord>): Promise<void> {
    for (;;) {
      const stored = await findVm(this.directory, CLUSTER_ID, name);
      const { record } = stored;
      if (await swapVm(this.directory, CLUSTER_ID, stored, { ...record, ...of(record) })) return;
    }
  }

  async pass(ms: number): Promise<void> {
    await new Promise<void>((resolve) => void this.simulation.clock.after(ms, resolve));
  }

  /** False if it did not come in time, or something has failed. */
  async until(condition: () => boolean | Promise<boolean>, ms: number): Promise<boolean> {
    const endMs = this.simulation.nowMs + ms;
    while (this.failure === undefined) {
      if (await condition()) return true;
      if (this.simulation.nowMs >= endMs) return false;
      await this.pass(50);
    }
    return false;
  }
}

function newVm(name: string, priority: number): VmRecord {
  return {
    name,
    volumes: [`${name}-disk`],
    cpuCount: 1,
    memoryBytes: 2 ** 28,
    boot: { kind: "disk" },
    networks: [],
    isProtected: true,
    protectionSequence: 1,
    persistedSequence: 0,
    isLeaving: false,
    priority,
    antiAffinity: undefined,
    failureCount: 0,
    lastFailureMs: 0,
    desired: "running",
    hostId: undefined,
    epoch: 0,
    startedEpoch: 0,
    history: [],
  };
}
