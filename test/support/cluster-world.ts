/**
 * A cluster of the product's own hosts (`HostPlane`) on simulated machines: volumes are placed,
 * owned and repaired as in a daemon, disks are pulled, emptied, exchanged and put back as they were
 * once.
 */
import assert from "node:assert/strict";
import { assertDefined, BLOCK_SIZE_BYTES, CodedError } from "../../src/base/index.ts";
import type { Prng } from "../../src/base/index.ts";
import { EmbeddedDirectory, findObject, releaseOwnerships } from "../../src/cluster/index.ts";
import type { ObjectRecord } from "../../src/cluster/index.ts";
import { ObjectLayout, ObjectOwner } from "../../src/object/index.ts";
import { HostPlane, ManagementNetwork } from "../../src/plane/index.ts";
import type { LocalDevices } from "../../src/plane/index.ts";
import type { Directory, NetworkAddress } from "../../src/ports/index.ts";
import { DiskMedium, MetadataMedium, NetworkFabric, SimDigests } from "../../src/sim/index.ts";
import { SimDisk, SimLog, SimMachine, SimMetadataStore, SimNetwork } from "../../src/sim/index.ts";
import type { Simulation } from "../../src/sim/index.ts";
import { Device, heldContents, isClean, ReadThrough } from "../../src/store/index.ts";
import { DEVICE_GEOMETRY, DEVICE_MEMORY } from "./device-sizes.ts";
import { Requests } from "./volume-bench.ts";

export const CLUSTER: string = "c1".repeat(16);
const PORT = 7401;
const DISK_BYTES = 64 << 20;

export const hostIdOf = (letter: string): string => letter.repeat(32);

/** What survives of a device. */
export interface Media {
  readonly disk: DiskMedium;
  readonly metadata: MetadataMedium;
}

export function emptyMedia(): Media {
  return { disk: new DiskMedium({ sizeBytes: DISK_BYTES }), metadata: new MetadataMedium() };
}

export function imageOf({ disk, metadata }: Media): Media {
  return { disk: disk.fork(), metadata: metadata.fork() };
}

export class ClusterHost {
  readonly letter: string;
  readonly #world: ClusterWorld;
  /** By path. */
  readonly media: Map<string, Media> = new Map([["/dev/one", emptyMedia()]]);
  /** By path, while the host runs. */
  readonly devices: Map<string, Device> = new Map();
  /** Paths of devices that say that they take no writes any more. */
  readonly failed: Set<string> = new Set();
  /** Called with each device before anybody else may use it. */
  onOpened: (device: Device) => void = () => {};
  #machine: SimMachine;
  #network: SimNetwork | undefined;
  #management: ManagementNetwork | undefined;
  #plane: HostPlane | undefined;
  #starts = 0;

  constructor(letter: string, world: ClusterWorld) {
    this.letter = letter;
    this.#world = world;
    this.#machine = new SimMachine(world.simulation);
  }

  get hostId(): string {
    return hostIdOf(this.letter);
  }

  get address(): string {
    return `10.0.0.${this.letter}`;
  }

  get managementAddress(): string {
    return `10.1.0.${this.letter}`;
  }

  get management(): ManagementNetwork {
    return assertDefined(this.#management, "the host does not run");
  }

  get plane(): HostPlane {
    return assertDefined(this.#plane, "the host does not run");
  }

  /** The one device of a host that has one. */
  get device(): Device {
    return assertDefined([...this.devices.values()][0], "no device");
  }

  medium(path = "/dev/one"): Media {
    return assertDefined(this.media.get(path), "no such disk");
  }

  async start(): Promise<void> {
    for (const path of this.media.keys()) {
      const device = await this.#open(path);
      if (device !== undefined) this.devices.set(path, device);
    }
    const directory = this.#world.directoryOf(this);
    const { clock } = this.#machine;
    this.#network = this.#connected();
    const world = {
      clock,
      log: new SimLog(clock),
      network: this.#network,
      directory,
      clusterId: CLUSTER,
      hostId: this.hostId,
      incarnation: ++this.#starts,
      parseAddress: addressOf,
      formatAddress: (address: NetworkAddress) => (address.kind === "tcp" ? address.host : ""),
      addEvent: ({ kind, message }: { readonly kind: string; readonly message: string }) =>
        void this.#world.events.push(`${kind}: ${message}`),
    };
    const management = new ManagementNetwork(world);
    this.#management = management;
    const plane = new HostPlane({
      ...world,
      hostName: this.letter,
      faultDomain: this.letter,
      devices: this.#localDevices(),
      newId: () => this.#world.newId(),
      elsewhere: (hostId) => management.links.verdictOn(hostId),
    });
    this.#plane = plane;
    const link = await management.listen(addressOf(this.managementAddress));
    await plane.start(`${this.letter}:7400`, addressOf(this.address), link);
    await management.start();
    await releaseOwnerships(directory, CLUSTER, this.hostId);
    await plane.settleIntents();
  }

  /** Gives a running host an empty disk. */
  async add(path: string): Promise<void> {
    this.media.set(path, emptyMedia());
    const device = assertDefined(await this.#open(path), "an empty disk is taken");
    this.devices.set(path, device);
    await this.plane.announceDevices();
  }

  /** Formats what is empty, refuses what is another host's. */
  async #open(path: string): Promise<Device | undefined> {
    const { clock } = this.#machine;
    const { disk, metadata } = this.medium(path);
    const ports = {
      disk: new SimDisk(this.#machine, disk, { alignmentBytes: BLOCK_SIZE_BYTES }),
      metadata: new SimMetadataStore(this.#machine, metadata),
      digests: new SimDigests(this.#machine, { mode: "fast" }),
      clock,
      log: new SimLog(clock),
    };
    const identity = { clusterId: CLUSTER, hostId: this.hostId };
    const found = await Device.inspect(ports.disk);
    if (found.kind === "empty") {
      await Device.format(ports, {
        ...identity,
        ...DEVICE_GEOMETRY,
        deviceId: this.#world.newId(),
      });
    }
    try {
      const device = await Device.open(ports, { ...identity, ...DEVICE_MEMORY });
      this.onOpened(device);
      return device;
    } catch (error) {
      this.#world.events.push(`device-refused: ${String(error)}`);
      await ports.disk.close();
      await ports.metadata.close();
      return undefined;
    }
  }

  /** Power is cut; what the disks keep of unflushed writes is chance. */
  crash(): void {
    this.#end();
    this.#machine.cutPower({ kind: "random", seed: this.#world.prng.u32() });
    this.#machine = new SimMachine(this.#world.simulation);
  }

  /** The process dies: its kernel goes on, and answers for it that nobody listens. */
  kill(): void {
    this.#network?.kill();
    this.#end();
    this.#machine.cutPower({ kind: "all" });
    this.#machine = new SimMachine(this.#world.simulation);
    this.#connected();
  }

  #connected(): SimNetwork {
    const addresses = [this.address, this.managementAddress];
    return new SimNetwork(this.#machine, this.#world.fabric, addresses);
  }

  /** In good order. Its owners must be closed. */
  async stop(): Promise<void> {
    const devices = [...this.devices.values()];
    await this.management.close();
    await this.plane.close();
    for (const device of devices) await device.close();
    this.#end();
    this.#machine.cutPower({ kind: "all" });
    this.#machine = new SimMachine(this.#world.simulation);
  }

  #end(): void {
    this.devices.clear();
    this.#plane = undefined;
    this.#management = undefined;
    this.#network = undefined;
  }

  async take(objectId: string): Promise<ObjectOwner> {
    return await ObjectOwner.take(this.plane.ownerWorld(), objectId, false);
  }

  deviceOf(componentId: string): Device | undefined {
    return [...this.devices.values()].find((device) => device.component(componentId));
  }

  #byId(deviceId: string): Device {
    const found = [...this.devices.values()].find((device) => device.deviceId === deviceId);
    return assertDefined(found, "no such device");
  }

  #localDevices(): LocalDevices {
    return {
      component: (componentId) => this.deviceOf(componentId)?.component(componentId),
      allocate: (lengthBytes) => this.device.allocate(lengthBytes),
      create: async ({ deviceId, ...component }) => {
        await this.#byId(deviceId).createComponent(component);
      },
      remove: async (componentId) => {
        for (const device of this.devices.values()) await device.deleteComponent(componentId);
      },
      fork: async (fork) => {
        await assertDefined(this.deviceOf(fork.sourceId), "its device").forkComponent(fork);
      },
      grow: async (componentId, blockCount) => {
        const sizeBytes = blockCount * BLOCK_SIZE_BYTES;
        await this.deviceOf(componentId)?.resizeComponent(componentId, sizeBytes);
      },
      heldContents: (deviceId, fingerprints) => heldContents(this.#byId(deviceId), fingerprints),
      readThrough: (deviceId) => new ReadThrough(this.#byId(deviceId)),
      list: () =>
        [...this.devices].map(([path, device]) => ({
          deviceId: device.deviceId,
          path,
          sizeBytes: DISK_BYTES,
          freeBytes: device.stats().freeBytes,
          hasFailed: this.failed.has(path),
          ...device.age,
        })),
      heldBy: (deviceId) =>
        this.#byId(deviceId)
          .components()
          .map(({ componentId }) => componentId),
      storedBytes: () =>
        [...this.devices.values()].flatMap((device) =>
          device
            .stats()
            .components.map(({ componentId, mappedBytes }) => [componentId, mappedBytes] as const),
        ),
      undecided: () =>
        [...this.devices.values()].flatMap((device) =>
          device.undecided().map(({ objectId }) => objectId),
        ),
      distrust: async (deviceId, incarnation) => this.#byId(deviceId).distrust(incarnation),
    };
  }
}

function addressOf(host: string): NetworkAddress {
  return { kind: "tcp", host, port: PORT };
}

export class ClusterWorld {
  readonly simulation: Simulation;
  readonly prng: Prng;
  readonly fabric: NetworkFabric;
  readonly hosts: Map<string, ClusterHost> = new Map();
  readonly events: string[] = [];
  #directory: EmbeddedDirectory | undefined;
  #ids = 0;

  constructor(simulation: Simulation, letters: string) {
    this.simulation = simulation;
    this.prng = simulation.prng.fork();
    this.fabric = new NetworkFabric(simulation);
    for (const letter of letters) this.hosts.set(letter, new ClusterHost(letter, this));
  }

  /** The way of a host to the directory. */
  directoryOf: (host: ClusterHost) => Directory = () => this.directory;

  get directory(): EmbeddedDirectory {
    return assertDefined(this.#directory, "not built");
  }

  host(letter: string): ClusterHost {
    return assertDefined(this.hosts.get(letter), "no such host");
  }

  hostOf(hostId: string): ClusterHost {
    return this.host(assertDefined(hostId[0], "no host"));
  }

  newId(): string {
    return (++this.#ids).toString(16).padStart(32, "0");
  }

  async build(): Promise<void> {
    const machine = new SimMachine(this.simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    this.#directory = await EmbeddedDirectory.open(store, machine.clock);
    for (const host of this.hosts.values()) await host.start();
    await this.allConnected();
  }

  async allConnected(): Promise<void> {
    const hosts = [...this.hosts.values()];
    await this.until(() =>
      hosts.every((host) => hosts.every((other) => host.plane.hosts.isReachable(other.hostId))),
    );
  }

  async record(objectId: string): Promise<ObjectRecord> {
    const stored = await findObject(this.directory, CLUSTER, objectId);
    return assertDefined(stored, "no record").record;
  }

  /** States of the components, by the letter of their host, as they stand in the record. */
  async states(objectId: string): Promise<Readonly<Record<string, string>>> {
    const { components } = await this.record(objectId);
    const states: Record<string, string> = {};
    for (const { hostId, state } of components) states[hostId[0]!] = state.kind;
    return states;
  }

  heard(kind: string): boolean {
    return this.events.some((event) => event.startsWith(`${kind}:`));
  }

  async pass(ms: number): Promise<void> {
    await new Promise<void>((resolve) => void this.simulation.clock.after(ms, resolve));
  }

  /** Waits in virtual time, for ten minutes at most. */
  async until(condition: () => boolean | Promise<boolean>): Promise<void> {
    for (let i = 0; i < 12_000; i++) {
      if (await condition()) return;
      await this.pass(50);
    }
    throw new Error(`it did not come (${this.events.join("; ")})`);
  }

  /** As soon as the lease of whoever had it before has ended. */
  async take(host: ClusterHost, objectId: string): Promise<ObjectOwner> {
    for (;;) {
      try {
        return await host.take(objectId);
      } catch (error) {
        if (!(error instanceof CodedError) || error.code !== "volume-in-use") throw error;
        await this.pass(100);
      }
    }
  }

  async untilActive(objectId: string): Promise<void> {
    await this.until(async () => {
      const { components } = await this.record(objectId);
      return components.every(({ state }) => state.kind === "active");
    });
  }

  /** Every copy by itself holds what the others hold. */
  async assertEqualCopies(objectId: string): Promise<void> {
    const { tree, components, sizeBytes } = await this.record(objectId);
    const blockCount = Math.ceil(sizeBytes / BLOCK_SIZE_BYTES);
    const copies: Uint8Array[] = [];
    for (const leg of new ObjectLayout(tree).legs) {
      const bytes = new Uint8Array(blockCount * BLOCK_SIZE_BYTES);
      for (let block = 0; block < blockCount; block++) {
        const componentId = leg.componentIds[leg.columnOf(block)]!;
        const entry = components.find((one) => one.componentId === componentId);
        const host = this.hostOf(assertDefined(entry, "no such component").hostId);
        const device = assertDefined(host.deviceOf(componentId), "no such component");
        const component = assertDefined(device.component(componentId), "no such component");
        const memory = device.allocate(BLOCK_SIZE_BYTES);
        const fault = await new Promise((resolve) => {
          const at = leg.componentBlockOf(block);
          component.read(memory, 0, at, 1, (_token, answer) => resolve(answer), 0);
          component.submit();
        });
        assert.equal(fault, undefined);
        bytes.set(memory.bytes, block * BLOCK_SIZE_BYTES);
      }
      copies.push(bytes);
    }
    for (const bytes of copies) assert.ok(Buffer.compare(bytes, copies[0]!) === 0, "copies differ");
  }

  /** Every device's counts, maps and digests agree. */
  async assertClean(): Promise<void> {
    for (const host of this.hosts.values())
      for (const device of host.devices.values())
        if (!isClean(await device.scrub()))
          throw new Error(`a device of ${host.letter} is not clean`);
  }
}

export function requestsOf(owner: ObjectOwner): Requests {
  return new Requests(owner.volume);
}
