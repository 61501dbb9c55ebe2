/**
 * Hosts with a device each, an owner of a mirrored object somewhere else, and what its clients may
 * find, in virtual time.
 */
import assert from "node:assert/strict";
import { assertDefined, BLOCK_SIZE_BYTES, CodedError, Prng } from "../../src/base/index.ts";
import {
  component,
  createVolumeRecord,
  EmbeddedDirectory,
  findObject,
  leavesOf,
  mirror,
  stripe,
  witness,
} from "../../src/cluster/index.ts";
import type { TreeNode } from "../../src/cluster/index.ts";
import type { ResyncPace } from "../../src/object/change-exchange.ts";
import { ObjectLayout } from "../../src/object/object-layout.ts";
import { ObjectOwner } from "../../src/object/object-owner.ts";
import { ALL_RULES } from "../../src/object/owner-world.ts";
import type { OwnerRules, OwnerWorld } from "../../src/object/owner-world.ts";
import { noTraffic } from "../../src/object/resync-progress.ts";
import type { ResyncTraffic } from "../../src/object/resync-progress.ts";
import { TransferMemory } from "../../src/object/transfer-memory.ts";
import type { Directory } from "../../src/ports/index.ts";
import { DiskMedium, MetadataMedium, SimDigests, SimDisk, SimLog } from "../../src/sim/index.ts";
import { SimMachine, SimMetadataStore, Simulation } from "../../src/sim/index.ts";
import { Device, isClean } from "../../src/store/index.ts";
import { BlockHistory } from "./block-history.ts";
import { CutComponent } from "./cut-component.ts";
import { DEVICE_GEOMETRY, DEVICE_MEMORY } from "./device-sizes.ts";
import { fakeMemory } from "./fake-component.ts";
import { randomBytes, randomRange, Requests } from "./volume-bench.ts";

const CLUSTER = "c1".repeat(16);
const OBJECT = "0b".repeat(16);
export const MIRROR_BYTES: number = 5 * 2 ** 20 + 512;
const SIZE_BLOCKS = Math.ceil(MIRROR_BYTES / BLOCK_SIZE_BYTES);

export const componentId = (letter: string): string => letter.repeat(32);

/** A host with one device that holds the one component of its letter. */
class Host {
  readonly letter: string;
  readonly #simulation: Simulation;
  readonly #blockCount: number;
  readonly #disk = new DiskMedium({ sizeBytes: 64 << 20 });
  readonly #metadata = new MetadataMedium();
  /** The way of the owner that there is now. */
  way: CutComponent;
  machine: SimMachine;
  device: Device | undefined;
  #isFormatted = false;

  readonly #changesMax: number | undefined;

  constructor(
    letter: string,
    blockCount: number,
    simulation: Simulation,
    changesMax: number | undefined,
  ) {
    this.#changesMax = changesMax;
    this.letter = letter;
    this.#simulation = simulation;
    this.#blockCount = blockCount;
    this.machine = new SimMachine(simulation);
    this.way = this.newWay();
  }

  newWay(): CutComponent {
    return new CutComponent(
      componentId(this.letter),
      () => this.device?.component(componentId(this.letter)),
      (lengthBytes) => assertDefined(this.device, "no power").allocate(lengthBytes),
    );
  }

  async start(): Promise<void> {
    const { machine } = this;
    const ports = {
      disk: new SimDisk(machine, this.#disk, { alignmentBytes: BLOCK_SIZE_BYTES }),
      metadata: new SimMetadataStore(machine, this.#metadata),
      digests: new SimDigests(machine, { mode: "fast" }),
      clock: machine.clock,
      log: new SimLog(machine.clock),
    };
    const ids = {
      clusterId: CLUSTER,
      hostId: componentId("4"),
      deviceId: componentId(this.letter),
    };
    if (!this.#isFormatted) await Device.format(ports, { ...ids, ...DEVICE_GEOMETRY });
    const device = await Device.open(ports, {
      clusterId: CLUSTER,
      ...DEVICE_MEMORY,
      ...(this.#changesMax === undefined ? {} : { changesMax: this.#changesMax }),
    });
    const sizeBytes = this.#blockCount * BLOCK_SIZE_BYTES;
    const made = { componentId: componentId(this.letter), objectId: OBJECT, sizeBytes };
    if (!this.#isFormatted) await device.createComponent(made);
    this.#isFormatted = true;
    this.device = device;
    this.way.heal();
  }

  crash(prng: Prng): void {
    this.device = undefined;
    this.way.cut();
    this.machine.cutPower({ kind: "random", seed: prng.u32() });
    this.machine = new SimMachine(this.#simulation);
  }
}

/** Hosts, an owner somewhere else, and what clients may find. */
export class MirrorWorld {
  readonly simulation: Simulation;
  readonly prng: Prng;
  readonly hosts: Map<string, Host> = new Map();
  readonly history: BlockHistory = new BlockHistory(MIRROR_BYTES);
  readonly events: string[] = [];
  readonly catchUp: ResyncTraffic = noTraffic();
  readonly #tree: TreeNode;
  directory: EmbeddedDirectory | undefined;
  /** The directory does what it is asked, and nobody hears of it. */
  answersAreLost = false;
  leaseIsAlive = true;
  /** Of owners from now on. */
  pace: ResyncPace | undefined;
  /** How often an owner has looked for a component. */
  asked = 0;
  owner: ObjectOwner | undefined;

  readonly #rules: OwnerRules;

  /** `changesMax`: how many changes the log of each device remembers. */
  constructor(tree: TreeNode, seed: number, rules: OwnerRules = ALL_RULES, changesMax?: number) {
    this.#rules = rules;
    this.#tree = tree;
    this.simulation = new Simulation({ seed });
    this.prng = new Prng(seed);
    const sizes = new ObjectLayout(tree).componentSizes(SIZE_BLOCKS);
    for (const { componentId } of leavesOf(tree)) {
      const blockCount = sizes.get(componentId) ?? 0;
      const letter = componentId[0]!;
      this.hosts.set(letter, new Host(letter, blockCount, this.simulation, changesMax));
    }
  }

  async build(): Promise<void> {
    for (const host of this.hosts.values()) await host.start();
    const machine = new SimMachine(this.simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    this.directory = await EmbeddedDirectory.open(store, machine.clock);
    await createVolumeRecord(this.directory, CLUSTER, {
      objectId: OBJECT,
      name: "v",
      sizeBytes: MIRROR_BYTES,
      policy: { failuresToTolerate: 1, stripes: 1 },
      tree: this.#tree,
      placement: leavesOf(this.#tree).map(({ componentId }) => {
        return { componentId, hostId: componentId[0]!, deviceId: componentId };
      }),
    });
  }

  /** Nothing of what the owner has under way gets any further, and no answer back. */
  ownerDies(): void {
    for (const host of this.hosts.values()) {
      host.way.cut();
      host.way = host.newWay();
    }
  }

  async take(hostId: string): Promise<Requests> {
    const ways = new Map([...this.hosts].map(([letter, { way }]) => [letter, way]));
    const world: OwnerWorld = {
      directory: this.#directoryOf(assertDefined(this.directory, "not built")),
      clusterId: CLUSTER,
      hostId,
      nameOf: (id) => id,
      log: new SimLog(this.simulation.clock),
      clock: this.simulation.clock,
      allocate: fakeMemory,
      transferMemory: new TransferMemory(fakeMemory),
      components: (componentId) => {
        this.asked++;
        return ways.get(componentId[0]!);
      },
      isNear: () => false,
      catchUp: this.catchUp,
      ...(this.pace === undefined ? {} : { pace: this.pace }),
      addEvent: ({ kind }) => void this.events.push(kind),
      growComponent: async () => {},
      isLeaseAlive: () => this.leaseIsAlive,
      rules: this.#rules,
      isHostAlive: async () => false,
    };
    this.owner = await ObjectOwner.take(world, OBJECT, false);
    return new Requests(this.owner.volume);
  }

  #directoryOf(directory: EmbeddedDirectory): Directory {
    return new Proxy<Directory>(directory, {
      get: (target, name: keyof Directory) =>
        name === "transact"
          ? async (...call: Parameters<Directory["transact"]>) => {
              const outcome = await target.transact(...call);
              if (!this.answersAreLost) return outcome;
              throw new CodedError({ code: "directory-outcome-unknown", message: "no answer" });
            }
          : target[name].bind(target),
    });
  }

  async state(letter: string): Promise<string> {
    const stored = await findObject(assertDefined(this.directory, "not built"), CLUSTER, OBJECT);
    const entry = stored?.record.components.find((one) => one.componentId === componentId(letter));
    return assertDefined(entry, "no such component").state.kind;
  }

  /** Random changes and reads, several at a time; every answer must be good. */
  async work(requests: Requests, count: number): Promise<void> {
    const { prng, history } = this;
    const running = new Set<Promise<void>>();
    for (let i = 0; i < count; i++) {
      const { offset, lengthBytes } = randomRange(prng, MIRROR_BYTES);
      const isWrite = prng.chance(0.8);
      const bytes = isWrite ? randomBytes(prng, lengthBytes) : new Uint8Array(lengthBytes);
      const change = history.change(offset, bytes);
      const answer = isWrite
        ? requests.write(bytes, offset)
        : requests.zero(offset, lengthBytes, prng.chance(0.5));
      const one = answer.then((fault) => {
        assert.equal(fault, undefined);
        history.acknowledge(change);
        running.delete(one);
      });
      running.add(one);
      while (running.size >= 8) await Promise.race(running);
    }
    await Promise.all(running);
  }

  async verify(requests: Requests, what: string): Promise<void> {
    const chunkBytes = 16 * BLOCK_SIZE_BYTES;
    for (let offset = 0; offset < MIRROR_BYTES; offset += chunkBytes) {
      const length = Math.min(chunkBytes, MIRROR_BYTES - offset);
      const { fault, bytes } = await requests.read(offset, length);
      assert.equal(fault, undefined, what);
      for (let at = 0; at < length; at += BLOCK_SIZE_BYTES) {
        const block = (offset + at) / BLOCK_SIZE_BYTES;
        const found = bytes.subarray(at, at + this.history.lengthOf(block));
        assert.ok(this.history.settle(block, found), `block ${block}: ${what}`);
      }
    }
  }

  async until(condition: () => Promise<boolean>): Promise<void> {
    for (let i = 0; i < 2000; i++) {
      if (await condition()) return;
      await new Promise<void>((resolve) => void this.simulation.clock.after(20, resolve));
    }
    throw new Error(`it did not come (${this.events.join(", ")})`);
  }

  /** Every leg by itself holds what the others hold. */
  async assertEqualLegs(what: string): Promise<void> {
    const layout = new ObjectLayout(this.#tree);
    const legs: Uint8Array[] = [];
    for (const leg of layout.legs) {
      const bytes = new Uint8Array(SIZE_BLOCKS * BLOCK_SIZE_BYTES);
      for (let block = 0; block < SIZE_BLOCKS; block++) {
        const letter = leg.componentIds[leg.columnOf(block)]![0]!;
        const host = assertDefined(this.hosts.get(letter), "no host");
        const device = assertDefined(host.device, "no power");
        const memory = device.allocate(BLOCK_SIZE_BYTES);
        const far = assertDefined(device.component(componentId(letter)), "no component");
        const fault = await new Promise((resolve) => {
          far.read(memory, 0, leg.componentBlockOf(block), 1, (_t, answer) => resolve(answer), 0);
          far.submit();
        });
        assert.equal(fault, undefined);
        bytes.set(memory.bytes, block * BLOCK_SIZE_BYTES);
      }
      legs.push(bytes);
    }
    for (const bytes of legs) assert.ok(Buffer.compare(bytes, legs[0]!) === 0, what);
    for (const { device } of this.hosts.values())
      if (device !== undefined) assert.ok(isClean(await device.scrub()), what);
  }
}

export const TREES: Readonly<Record<string, TreeNode>> = {
  "a mirror of two with a witness": mirror([
    component(componentId("a")),
    component(componentId("b")),
    witness(componentId("f")),
  ]),
  "three copies": mirror([
    component(componentId("a")),
    component(componentId("b")),
    component(componentId("c")),
  ]),
  "legs that are striped differently": mirror([
    stripe([component(componentId("a")), component(componentId("b"))], 256),
    component(componentId("c"), 2),
    witness(componentId("f")),
  ]),
};
