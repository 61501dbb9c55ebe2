/**
 * Hosts on simulated machines, each with a device, links to the others, and a server of its
 * components; an owner on one of them reaches components as the product does.
 */
import { assertDefined, BLOCK_SIZE_BYTES } from "../../src/base/index.ts";
import type { Prng } from "../../src/base/index.ts";
import { createVolumeRecord, EmbeddedDirectory, leavesOf } from "../../src/cluster/index.ts";
import { findObject } from "../../src/cluster/index.ts";
import type { StoredObject, TreeNode } from "../../src/cluster/index.ts";
import { Links } from "../../src/link/index.ts";
import { noTraffic, ObjectOwner, TransferMemory } from "../../src/object/index.ts";
import type { OwnerWorld, ResyncTraffic } from "../../src/object/index.ts";
import { ObjectLayout } from "../../src/object/object-layout.ts";
import { ComponentServer, RemoteComponents } from "../../src/plane/index.ts";
import { DiskMedium, MetadataMedium, NetworkFabric, SimDigests } from "../../src/sim/index.ts";
import { SimDisk, SimLog, SimMachine, SimMetadataStore, SimNetwork } from "../../src/sim/index.ts";
import type { Simulation } from "../../src/sim/index.ts";
import { Device } from "../../src/store/index.ts";
import { DEVICE_GEOMETRY, DEVICE_MEMORY } from "./device-sizes.ts";

const CLUSTER = "c1".repeat(16);
const OBJECT = "0b".repeat(16);
const PORT = 7401;

/** Ids of hosts, devices and components are made of one letter each. */
export const idOf = (letter: string): string => letter.repeat(32);

export class PlaneHost {
  readonly letter: string;
  readonly world: PlaneWorld;
  readonly #disk = new DiskMedium({ sizeBytes: 64 << 20 });
  readonly #metadata = new MetadataMedium();
  machine: SimMachine;
  network: SimNetwork | undefined;
  device: Device | undefined;
  links: Links | undefined;
  remote: RemoteComponents | undefined;
  owner: ObjectOwner | undefined;
  #isFormatted = false;
  #starts = 0;

  constructor(letter: string, world: PlaneWorld) {
    this.letter = letter;
    this.world = world;
    this.machine = new SimMachine(world.simulation);
  }

  get address(): string {
    return `10.0.0.${this.letter}`;
  }

  async start(): Promise<void> {
    const { machine, world } = this;
    const { clock } = machine;
    const log = new SimLog(clock);
    const ports = {
      disk: new SimDisk(machine, this.#disk, { alignmentBytes: BLOCK_SIZE_BYTES }),
      metadata: new SimMetadataStore(machine, this.#metadata),
      digests: new SimDigests(machine, { mode: "fast" }),
      clock,
      log,
    };
    const ids = { clusterId: CLUSTER, hostId: idOf(this.letter), deviceId: idOf(this.letter) };
    if (!this.#isFormatted) await Device.format(ports, { ...ids, ...DEVICE_GEOMETRY });
    const device = await Device.open(ports, { clusterId: CLUSTER, ...DEVICE_MEMORY });
    const blocks = world.sizes.get(idOf(this.letter));
    if (!this.#isFormatted && blocks !== undefined)
      await device.createComponent({
        componentId: idOf(this.letter),
        objectId: OBJECT,
        sizeBytes: blocks * BLOCK_SIZE_BYTES,
      });
    this.#isFormatted = true;
    this.device = device;
    this.network = new SimNetwork(machine, world.fabric, [this.address]);
    const links = new Links(
      { network: this.network, clock, log },
      {
        clusterId: CLUSTER,
        hostId: idOf(this.letter),
        incarnation: ++this.#starts,
        network: "storage",
      },
    );
    this.remote = new RemoteComponents(links, clock);
    new ComponentServer(links, {
      component: (componentId) => device.component(componentId),
      allocate: (lengthBytes) => device.allocate(lengthBytes),
    });
    await links.listen({ kind: "tcp", host: this.address, port: PORT });
    links.setPeers(
      [...world.hosts.values()].map((host) => ({
        hostId: idOf(host.letter),
        address: { kind: "tcp", host: host.address, port: PORT },
      })),
    );
    this.links = links;
  }

  /** Power is cut; what the disk keeps of unflushed writes is chance. */
  crash(): void {
    this.device = undefined;
    this.owner = undefined;
    this.machine.cutPower({ kind: "random", seed: this.world.prng.u32() });
    this.machine = new SimMachine(this.world.simulation);
  }

  async take(): Promise<ObjectOwner> {
    const device = assertDefined(this.device, "no power");
    const remote = assertDefined(this.remote, "no power");
    const { clock } = this.machine;
    const world: OwnerWorld = {
      directory: this.world.directory,
      clusterId: CLUSTER,
      hostId: idOf(this.letter),
      nameOf: (id) => id,
      log: new SimLog(clock),
      clock,
      allocate: (lengthBytes) => device.allocate(lengthBytes),
      transferMemory: new TransferMemory((lengthBytes) => device.allocate(lengthBytes)),
      components: (componentId, hostId) =>
        hostId === idOf(this.letter)
          ? device.component(componentId)
          : remote.component(componentId, hostId),
      isNear: (componentId) => device.component(componentId) !== undefined,
      catchUp: this.world.catchUp,
      addEvent: ({ kind }) => void this.world.events.push(kind),
      growComponent: async () => {},
      isLeaseAlive: () => true,
      isHostAlive: async () => false,
    };
    this.owner = await ObjectOwner.take(world, OBJECT, false);
    return this.owner;
  }
}

export class PlaneWorld {
  readonly simulation: Simulation;
  readonly prng: Prng;
  readonly fabric: NetworkFabric;
  readonly hosts: Map<string, PlaneHost> = new Map();
  readonly sizes: ReadonlyMap<string, number>;
  readonly events: string[] = [];
  readonly catchUp: ResyncTraffic = noTraffic();
  readonly sizeBytes: number;
  readonly #tree: TreeNode;
  #directory: EmbeddedDirectory | undefined;

  constructor(simulation: Simulation, tree: TreeNode, sizeBytes: number, letters: string) {
    this.simulation = simulation;
    this.prng = simulation.prng.fork();
    this.fabric = new NetworkFabric(simulation);
    this.#tree = tree;
    this.sizeBytes = sizeBytes;
    const layout = new ObjectLayout(tree);
    const sizes = new Map(layout.componentSizes(Math.ceil(sizeBytes / BLOCK_SIZE_BYTES)));
    for (const { kind, componentId } of leavesOf(tree))
      if (kind === "witness") sizes.set(componentId, 0);
    this.sizes = sizes;
    for (const letter of letters) this.hosts.set(letter, new PlaneHost(letter, this));
  }

  get directory(): EmbeddedDirectory {
    return assertDefined(this.#directory, "not built");
  }

  host(letter: string): PlaneHost {
    return assertDefined(this.hosts.get(letter), "no such host");
  }

  async build(): Promise<void> {
    const machine = new SimMachine(this.simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    this.#directory = await EmbeddedDirectory.open(store, machine.clock);
    for (const host of this.hosts.values()) await host.start();
    await createVolumeRecord(this.directory, CLUSTER, {
      objectId: OBJECT,
      name: "v",
      sizeBytes: this.sizeBytes,
      policy: { failuresToTolerate: 1, stripes: 1 },
      tree: this.#tree,
      placement: leavesOf(this.#tree).map(({ componentId }) => {
        return { componentId, hostId: componentId, deviceId: componentId };
      }),
    });
    await this.until(() => {
      return [...this.hosts.values()].every((host) => host.links!.peers().every((one) => one.isUp));
    });
  }

  async stored(): Promise<StoredObject> {
    return assertDefined(await findObject(this.directory, CLUSTER, OBJECT), "no record");
  }

  async state(letter: string): Promise<string> {
    const { record } = await this.stored();
    const entry = record.components.find(({ componentId }) => componentId === idOf(letter));
    return assertDefined(entry, "no such component").state.kind;
  }

  async pass(ms: number): Promise<void> {
    await new Promise<void>((resolve) => void this.simulation.clock.after(ms, resolve));
  }

  /** Waits in virtual time, for a minute at most. */
  async until(condition: () => boolean | Promise<boolean>): Promise<void> {
    for (let i = 0; i < 3000; i++) {
      if (await condition()) return;
      await this.pass(20);
    }
    throw new Error(`it did not come (${this.events.join(", ")})`);
  }
}
