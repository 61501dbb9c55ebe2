/**
 * One host of a trial: a machine that loses power, freezes and comes back, and on it the product's
 * own host, started anew each time over what the media still hold.
 */
import { assert, BLOCK_SIZE_BYTES, CodedError, errorText, Prng } from "../base/index.ts";
import { releaseOwnerships, RemoteDirectoryClient } from "../cluster/index.ts";
import { decideUnused, ObjectOwner } from "../object/index.ts";
import { HostPlane } from "../plane/index.ts";
import type { LocalDevices } from "../plane/index.ts";
import type { Directory, DiskMemory, Log, NetworkAddress } from "../ports/index.ts";
import { SimDigests, SimDisk, SimMachine, SimMetadataStore, SimNetwork } from "../sim/index.ts";
import type { CrashPolicy } from "../sim/index.ts";
import { Device, ReadThrough } from "../store/index.ts";
import type { ComponentFork, DeviceStats } from "../store/index.ts";
import { SEGMENT_BYTES } from "./depot.ts";
import type { HostMedia } from "./depot.ts";
import { LifeMemory } from "./life-memory.ts";
import { ownerRulesOf } from "./mutants.ts";
import { CLUSTER_ID, formatAddress, hostIdOf, parseAddress } from "./names.ts";
import type { TrialWorld } from "./trial-world.ts";
import { forgetNewerCalls, versionsOf } from "./version-skew.ts";
import { lagging, WatchLag } from "./watch-lag.ts";
import { WatchedComponent } from "./watched-component.ts";
import type { Lateness } from "./watched-component.ts";

export type Answer<T> =
  | { readonly kind: "done"; readonly value: T }
  | { readonly kind: "refused"; readonly code: string; readonly message: string }
  /** It may go on. */
  | { readonly kind: "silent" };

const STORAGE_PORT = 7401;
const RESTART_MS = 500;
const LINK_CUT = "a link was cut: ";
/** The other host is new, and the record that says so is still on its way. */
const STRANGER = "is not a member of the cluster, as far as is known here";

export class TrialHost {
  readonly number: number;
  readonly name: string;
  readonly hostId: string;
  readonly storageAddress: string;
  readonly managementAddress: string;
  media: HostMedia;
  machine: SimMachine;
  disk: SimDisk | undefined;
  device: Device | undefined;
  /** Faults of the disk under way: while there are any, that it cannot be opened proves nothing. */
  diskFaults = 0;
  /** The disk cannot be opened any more, and the plan allows for that. */
  isLost = false;
  isUp = false;
  /** Users ask this one instead. */
  usersGoTo: TrialHost | undefined;
  readonly watches: WatchLag = new WatchLag();
  readonly #world: TrialWorld;
  readonly #components = new Map<string, WatchedComponent>();
  readonly #owners = new Map<string, Promise<ObjectOwner>>();
  /** Ownerships being given up: nobody takes an object again before. */
  readonly #closing = new Map<string, Promise<void>>();
  readonly #ending = new WeakSet<ObjectOwner>();
  readonly #memory: DiskMemory[] = [];
  readonly #lifeMemory: LifeMemory;
  /** Apart from all other chance, so that seeds in which nothing is late go their way. */
  readonly #lateChance: Prng;
  readonly #forked = new Set<string>();
  /** Forks under way: a device takes nothing away that it is just making. */
  readonly #forking = new Map<string, Promise<void>>();
  #network: SimNetwork | undefined;
  #plane: HostPlane | undefined;
  #starts = 0;

  constructor(world: TrialWorld, number: number, media: HostMedia) {
    this.#world = world;
    this.number = number;
    this.name = world.plan.hostNames?.[number] ?? `host${number}`;
    this.hostId = hostIdOf(number);
    this.storageAddress = `10.1.0.${number}`;
    this.managementAddress = `10.2.0.${number}`;
    this.media = media;
    this.machine = new SimMachine(world.simulation);
    this.#lifeMemory = new LifeMemory(world.depot, world.simulation);
    this.#lateChance = new Prng(world.simulation.seed ^ (number + 0xf02c));
  }

  /** The product's part of it, while its process runs. */
  get plane(): HostPlane | undefined {
    return this.#plane;
  }

  /** Counts the starts of its process. */
  get starts(): number {
    return this.#starts;
  }

  get isDiskFaulty(): boolean {
    return this.diskFaults > 0;
  }

  get isOff(): boolean {
    return this.device === undefined && !this.isUp && this.#network === undefined;
  }

  /** The process starts; if it cannot, it is started again, as a service manager does. */
  start(): void {
    assert(this.isOff, "the host is running");
    const { machine } = this;
    this.#trace("starts");
    this.#lifeMemory.giveBackOld();
    this.#boot(machine).catch((error: unknown) => {
      if (this.machine === machine) this.#startFailed(error);
    });
  }

  /** The process dies; its kernel lives on, writes what it was given and refuses connections. */
  kill(last: "reset" | "end" = "reset"): void {
    this.#network?.kill(last);
    this.#end({ kind: "all" });
    // The kernel goes on answering for the addresses.
    new SimNetwork(this.machine, this.#world.fabric, this.#addresses);
    this.#trace("was killed");
  }

  cutPower(): void {
    this.#end({ kind: "random", seed: this.#world.prng.u32() });
    this.#trace("lost power");
  }

  /** The disk as it would be found now, were the process killed; undefined if it does not run. */
  image(): HostMedia | undefined {
    if (this.disk === undefined) return undefined;
    const { machine, media } = this;
    return {
      disk: machine.imageAfterCut(media.disk, { kind: "all" }),
      metadata: machine.imageAfterCut(media.metadata, { kind: "all" }),
    };
  }

  /** The process is killed, and its disk is another one from now on. */
  replaceDisk(media: HostMedia): void {
    if (!this.isOff) this.kill();
    this.media = media;
    this.#trace("has another disk");
  }

  /** What this host owns is given up in good order. */
  handOver(objectId: string): void {
    const plane = this.#plane;
    this.#owners
      .get(objectId)
      ?.then((owner) => {
        // Killed in the same moment, it has nothing to give up in its next life.
        if (this.#plane === plane) this.#close(objectId, owner);
      })
      .catch((error: unknown) => this.#trace(errorText(error)));
  }

  owns(objectId: string): boolean {
    return this.#owners.has(objectId);
  }

  /** What becomes of work on this host, for somebody who waits for a while and then goes away. */
  async ask<T>(work: (plane: HostPlane) => Promise<T>, patienceMs: number): Promise<Answer<T>> {
    return await new Promise<Answer<T>>((resolve) => {
      const { clock } = this.#world.simulation;
      const timer = clock.after(patienceMs, () => resolve({ kind: "silent" }));
      const settle = (answer: Answer<T>): void => {
        timer.cancel();
        resolve(answer);
      };
      // Within the host: if that stands still or has no power, so does the work.
      this.machine.schedule(0, () => {
        const plane = this.#plane;
        const answered =
          plane === undefined || !this.isUp ? Promise.reject(this.#notUp()) : work(plane);
        answered.then(
          (value) => settle({ kind: "done", value }),
          (error: unknown) => {
            if (error instanceof CodedError)
              settle({ kind: "refused", code: error.code, message: error.message });
            else this.#world.fail("crash", `${this.name} fails at work: ${stackOf(error)}`);
          },
        );
      });
    });
  }

  /** The owner of an object on this host, taken if need be. Fails as `ObjectOwner.take` does. */
  serve(objectId: string, isReadOnly = false): Promise<ObjectOwner> {
    const known = this.#owners.get(objectId);
    if (known !== undefined) return known;
    const taking = this.#take(objectId, isReadOnly);
    this.#owners.set(objectId, taking);
    taking.catch(() => {
      if (this.#owners.get(objectId) === taking) this.#owners.delete(objectId);
    });
    return taking;
  }

  /** For requests of clients, 16 blocks and the edges. */
  takeMemory(): DiskMemory {
    assert(this.device !== undefined, "no device to read into the memory of");
    return this.#memory.pop() ?? this.device.allocate(18 * BLOCK_SIZE_BYTES);
  }

  giveMemory(memory: DiskMemory): void {
    this.#memory.push(memory);
  }

  component(componentId: string): WatchedComponent | undefined {
    const inner = this.device?.component(componentId);
    if (inner === undefined) return undefined;
    let watched = this.#components.get(componentId);
    if (watched === undefined) {
      const { mutant } = this.#world;
      watched = new WatchedComponent(
        inner,
        mutant?.component ?? {},
        (what) => this.#world.fail("fencing", `component ${componentId} on ${this.name} ${what}`),
        this.#lateness(),
      );
      this.#components.set(componentId, watched);
    }
    return watched;
  }

  #lateness(): Lateness {
    const { lateChangesMsMax, lateCopiesMsMax } = this.#world.plan;
    return {
      ...(lateChangesMsMax > 0 ? { changes: () => this.#late(lateChangesMsMax) } : {}),
      ...(lateCopiesMsMax > 0 ? { copies: () => this.#late(lateCopiesMsMax) } : {}),
    };
  }

  async #late(msMax: number): Promise<void> {
    const delayMs = this.#lateChance.below(2 * msMax) - msMax;
    const { machine } = this;
    if (delayMs > 0) await new Promise<void>((resolve) => machine.schedule(delayMs, resolve));
  }

  get #isOlder(): boolean {
    return this.#world.plan.olderHost === this.number;
  }

  get #addresses(): readonly string[] {
    return [this.storageAddress, this.managementAddress];
  }

  #end(policy: CrashPolicy): void {
    this.device = undefined;
    this.disk = undefined;
    this.isUp = false;
    this.#plane = undefined;
    this.#network = undefined;
    this.#components.clear();
    this.#owners.clear();
    this.#closing.clear();
    this.#memory.length = 0;
    this.machine.cutPower(policy);
    this.#lifeMemory.lifeEnded();
    this.machine = new SimMachine(this.#world.simulation);
  }

  #startFailed(error: unknown): void {
    if (!(error instanceof CodedError)) {
      this.#world.fail("crash", `${this.name} does not start: ${stackOf(error)}`);
      return;
    }
    this.#trace(`does not start: ${error.code}: ${error.message}`);
    const isDevice = this.device === undefined;
    this.kill();
    const { isSick, isHealing } = this.#world.standingOf(this.number);
    if (isDevice && !this.isDiskFaulty) {
      if (!isSick) {
        this.#world.fail("device", `${this.name}: ${error.code}: ${error.message}`);
        return;
      }
      this.isLost = isHealing;
      if (this.isLost) return;
    }
    const { machine } = this;
    this.#world.simulation.clock.after(RESTART_MS, () => {
      if (this.machine === machine && this.isOff) this.start();
    });
  }

  async #boot(machine: SimMachine): Promise<void> {
    const { clock } = machine;
    // What the life before had under way comes to no end.
    this.#forking.clear();
    const { plan, simulation, fabric } = this.#world;
    clock.setRate(plan.clockRates[this.number] ?? 1);
    const network = new SimNetwork(machine, fabric, this.#addresses);
    this.#network = network;
    const log = this.#log();
    const disk = new SimDisk(machine, this.media.disk, {
      alignmentBytes: BLOCK_SIZE_BYTES,
      memory: (lengthBytes) => this.#lifeMemory.borrow(lengthBytes),
    });
    this.disk = disk;
    const metadata = new SimMetadataStore(machine, this.media.metadata);
    const digests = new SimDigests(machine, { mode: "fast" });
    const device = await Device.open(
      { disk, metadata, digests, clock, log },
      {
        clusterId: CLUSTER_ID,
        hostId: this.hostId,
        journalMemoryBytes: 3 * SEGMENT_BYTES,
        pageCacheBytes: 1 << 18,
        blockCacheBytes: 64 * BLOCK_SIZE_BYTES,
        changesMax: plan.changesMax,
        destageBlocksMax: simulation.prng.pick([64, 512]),
        // Almost every write, or none, goes straight to the block store.
        placedBlocksMin: simulation.prng.pick([2, 16]),
        rules: this.#world.mutant?.device ?? {},
      },
    );
    this.device = device;
    const { address } = this.#world.directory;
    const client = new RemoteDirectoryClient({ network, address, clock, log });
    const directory = lagging(client, machine, this.watches);
    await this.#join(this.#newPlane({ machine, network, log, directory, device }));
    this.isUp = true;
    this.#trace("is up");
    this.#world.onHostUp(this);
  }

  #newPlane(parts: {
    readonly machine: SimMachine;
    readonly network: SimNetwork;
    readonly log: Log;
    readonly directory: Directory;
    readonly device: Device;
  }): HostPlane {
    const { machine, device, ...ports } = parts;
    const world = this.#world;
    const speaks = versionsOf(world.plan.olderHost, this.number);
    const plane = new HostPlane({
      ...ports,
      clock: machine.clock,
      clusterId: CLUSTER_ID,
      hostId: this.hostId,
      hostName: this.name,
      faultDomain: world.plan.faultDomains?.[this.number] ?? this.name,
      incarnation: ++this.#starts,
      devices: this.#localDevices(device),
      newId: () => world.newId(),
      parseAddress,
      formatAddress,
      addEvent: ({ kind, message }) => {
        this.#trace(`event ${kind}: ${message}`);
        if (kind === "copies-differed") world.copiesDiffered(message);
      },
      rules: ownerRulesOf(world.mutant),
      scrubTimesSooner: world.plan.scrubTimesSooner,
      ...(speaks === undefined ? {} : { speaks }),
    });
    if (this.#isOlder) forgetNewerCalls(plane.links);
    this.#plane = plane;
    return plane;
  }

  /** As the product does when it starts. */
  async #join(plane: HostPlane): Promise<void> {
    const address: NetworkAddress = { kind: "tcp", host: this.storageAddress, port: STORAGE_PORT };
    await plane.start(`${this.managementAddress}:7400`, address);
    const { directory } = plane.ownerWorld();
    await releaseOwnerships(directory, CLUSTER_ID, this.hostId);
    await plane.settleIntents();
    for (const { objectId } of this.device?.undecided() ?? []) {
      try {
        await decideUnused(this.#ownerWorld(plane), objectId);
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        this.#trace(`cannot settle ${objectId}: ${error.message}`);
      }
    }
  }

  #ownerWorld(plane: HostPlane): ReturnType<HostPlane["ownerWorld"]> {
    const world = plane.ownerWorld();
    return {
      ...world,
      ...(this.#world.mutant?.ignoresLease === true ? { isLeaseAlive: () => true } : {}),
      ...(this.#world.mutant?.ignoresTerm === true
        ? { isLeaseAlive: () => plane.isLeaseAlive() }
        : {}),
      ...(this.#isOlder ? { offersFingerprints: () => false } : {}),
    };
  }

  #notUp(): CodedError {
    return new CodedError({ code: "shutting-down", message: `${this.name} is not up` });
  }

  async #take(objectId: string, isReadOnly: boolean): Promise<ObjectOwner> {
    const plane = this.#plane;
    if (plane === undefined || !this.isUp) throw this.#notUp();
    await this.#closing.get(objectId);
    const owner = await ObjectOwner.take(this.#ownerWorld(plane), objectId, isReadOnly);
    this.#trace(`owns ${objectId.slice(-4)} at epoch ${owner.epoch}`);
    this.#world.owned(objectId, owner.epoch, this.number);
    owner.onStopped((reason) => {
      this.#trace(`stops serving ${objectId.slice(-4)}: ${reason}`);
      if (this.#plane === plane) this.#close(objectId, owner);
    });
    return owner;
  }

  #close(objectId: string, owner: ObjectOwner): void {
    // One that stops while it is given up: the object may be somebody's here again already.
    if (this.#ending.has(owner)) return;
    this.#ending.add(owner);
    this.#owners.delete(objectId);
    const closing = owner
      .close()
      .catch((error: unknown) => this.#trace(errorText(error)))
      .then(() => {
        if (this.#closing.get(objectId) === closing) this.#closing.delete(objectId);
      });
    this.#closing.set(objectId, closing);
  }

  #localDevices(device: Device): LocalDevices {
    return {
      component: (componentId) => this.component(componentId),
      allocate: (lengthBytes) => device.allocate(lengthBytes),
      create: async (component) => void (await device.createComponent(component)),
      remove: async (componentId) => {
        await this.#forking.get(componentId)?.catch(() => undefined);
        await device.deleteComponent(componentId);
      },
      fork: (fork) => {
        const forking = this.#fork(device, fork).finally(() => {
          this.#forking.delete(fork.componentId);
        });
        this.#forking.set(fork.componentId, forking);
        return forking;
      },
      grow: async (componentId, blockCount) => {
        await device.resizeComponent(componentId, blockCount * BLOCK_SIZE_BYTES);
      },
      list: () => [
        {
          deviceId: device.deviceId,
          path: "/dev/sim",
          sizeBytes: this.media.disk.sizeBytes,
          freeBytes: freeBytes(device.stats(), this.media.disk.availableBytes),
          ...device.age,
        },
      ],
      readThrough: () => new ReadThrough(device),
      heldBy: () => (this.device?.components() ?? []).map(({ componentId }) => componentId),
      storedBytes: () =>
        device.stats().components.map(({ componentId, mappedBytes }) => [componentId, mappedBytes]),
      undecided: () => device.undecided().map(({ objectId }) => objectId),
      distrust: (_deviceId, incarnation) => device.distrust(incarnation),
    };
  }

  /** Half of the forks are late where the plan says so, each once: it may be tried again often. */
  async #fork(device: Device, fork: ComponentFork): Promise<void> {
    const { lateForksMsMax } = this.#world.plan;
    const { machine } = this;
    if (lateForksMsMax > 0 && !this.#forked.has(fork.componentId)) {
      this.#forked.add(fork.componentId);
      const delayMs = this.#lateChance.below(2 * lateForksMsMax) - lateForksMsMax;
      if (delayMs > 0) await new Promise<void>((resolve) => machine.schedule(delayMs, resolve));
    }
    await device.forkComponent(fork);
  }

  #log(): Log {
    return {
      write: (level, message, fields) => {
        if (level !== "debug") this.#trace(`${level}: ${message}`);
        // Only of bugs it is told where they happened.
        const stack = fields?.["stack"];
        if (stack !== undefined) this.#world.fail("crash", `${this.name}: ${String(stack)}`);
        // Here nobody says what it should not.
        if (message.startsWith(LINK_CUT) && !message.endsWith(STRANGER))
          this.#world.fail("violation", `${this.name}: ${message}`);
      },
    };
  }

  #trace(what: string): void {
    this.#world.trace.add(this.name, what);
  }
}

/** As the product tells it: what is free on the device is overwritten, and need not be punched. */
function freeBytes(stats: DeviceStats, availableBytes: number): number {
  return Math.min(stats.freeBytes, stats.reclaimableBytes + availableBytes);
}

export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
