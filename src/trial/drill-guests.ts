/**
 * The machines of one host in a drill: the product's own HA module over the product's own objects,
 * and guests that count on their first disks for as long as they run.
 */
import { assertDefined, CodedError, errorText, SECTOR_SIZE_BYTES } from "../base/index.ts";
import { findVm } from "../cluster/index.ts";
import { attachOnceFree, VmHost } from "../ha/index.ts";
import type { HaPeers, VmStorage } from "../ha/index.ts";
import type { IoFault, ObjectOwner } from "../object/index.ts";
import { VmHomes } from "../plane/index.ts";
import type { HostPlane } from "../plane/index.ts";
import type { VmStart } from "../ports/index.ts";
import { SimHypervisor } from "../sim/index.ts";
import type { DrillWorld } from "./drill-world.ts";
import { CLUSTER_ID } from "./names.ts";
import { stackOf } from "./trial-host.ts";
import type { TrialHost } from "./trial-host.ts";
import { fillContent, readContents } from "./volume-history.ts";

const GUEST_MS = 1000;
const CALL_MS = 2;

export class DrillGuests {
  readonly #world: DrillWorld;
  readonly #host: TrialHost;
  readonly #arrivals: Map<string, SimHypervisor>;
  #hypervisor: SimHypervisor;
  #storage: VmStorage | undefined;

  constructor(world: DrillWorld, host: TrialHost, arrivals: Map<string, SimHypervisor>) {
    this.#world = world;
    this.#host = host;
    this.#arrivals = arrivals;
    this.#hypervisor = this.#newHypervisor();
  }

  /** The host's process has come up. */
  begin(plane: HostPlane): void {
    const { machine, hostId, starts } = this.#host;
    const { directory, log } = plane.ownerWorld();
    const { clock } = machine;
    const homes = new VmHomes(plane, () => undefined);
    const storage = storageOf(homes);
    this.#storage = storage;
    const { memoryBytes, cpuCount } = this.#world.layout.hosts[this.#host.number]!;
    new VmHost({
      ...{ directory, clock, log, hostId, storage, hypervisor: this.#hypervisor },
      clusterId: CLUSTER_ID,
      incarnation: starts,
      attach: async (volume) => {
        const objectId = this.#world.objectIdOf(volume);
        await attachOnceFree(clock, () => this.#host.serve(objectId));
        return { vhostSocket: `/run/${volume}` };
      },
      detach: async (volume) => this.#host.handOver(this.#world.objectIdOf(volume)),
      expect: async (volume) => ({ vhostSocket: `/run/${volume}` }),
      ways: {
        offer: async (_vm, socket) => socket,
        reach: async (_vm, address) => address,
        close: () => {},
      },
      capacity: { memoryBytes, cpuCount },
      peers: this.#peers(),
      nameOf: (id) => this.#world.nameOf(id),
      addEvent: ({ kind, message }) => this.#world.tell(this.#host.name, `${kind}: ${message}`),
    }).start();
  }

  /** The host's process is gone; machines run on as long as they may. */
  endProcess(): void {
    this.#storage = undefined;
  }

  cutPower(): void {
    this.endProcess();
    this.#hypervisor.end();
    this.#hypervisor = this.#newHypervisor();
  }

  get storage(): VmStorage | undefined {
    return this.#storage;
  }

  #newHypervisor(): SimHypervisor {
    return new CountingHypervisor(this.#world, this.#host, this.#arrivals);
  }

  /** Over the management network. */
  #peers(): HaPeers {
    const at = async (hostId: string): Promise<VmStorage> => {
      await this.#world.trial.pass(CALL_MS);
      const storage = this.#world.storageAt(this.#host.hostId, hostId);
      if (storage === undefined) throw new Error(`${this.#world.nameOf(hostId)} does not answer`);
      return storage;
    };
    const { directory } = this.#world;
    return {
      isAccessible: async (hostId, vm) => {
        const storage = await at(hostId);
        const { record } = await findVm(directory(), CLUSTER_ID, vm);
        return (await storage.reach([record])).inaccessible.length === 0;
      },
      persist: async (hostId, vm) => {
        const storage = await at(hostId);
        await storage.persist((await findVm(directory(), CLUSTER_ID, vm)).record);
      },
      retrieve: async (hostId, vms) => await (await at(hostId)).retrieve(vms),
    };
  }
}

function storageOf(homes: VmHomes): VmStorage {
  return {
    reach: (vms) => homes.reach(vms.map(({ name, volumes }) => ({ vm: name, volumes }))),
    persist: ({ name, volumes, protectionSequence: sequence, isProtected }) =>
      homes.persist({ state: { vm: name, sequence, isProtected, definition: name }, volumes }),
    retrieve: (vms) => homes.retrieve(vms),
  };
}

/** Each machine writes the next number to its disk, and must find what it was told last. */
class CountingHypervisor extends SimHypervisor {
  readonly #world: DrillWorld;
  readonly #host: TrialHost;
  readonly #guests = new Map<string, symbol>();

  constructor(world: DrillWorld, host: TrialHost, arrivals: Map<string, SimHypervisor>) {
    super(
      world.trial.simulation.clock,
      (vm, isExecuting) => world.executes(host, vm, isExecuting),
      arrivals,
    );
    this.#world = world;
    this.#host = host;
  }

  override async start(vm: VmStart): Promise<void> {
    await super.start(vm);
    this.#count(vm).catch((error: unknown) => this.#world.trial.fail("crash", stackOf(error)));
  }

  async #count({ vmId, epoch, disks }: VmStart): Promise<void> {
    const guest = Symbol(vmId);
    this.#guests.set(vmId, guest);
    const objectId = this.#world.objectIdOf(assertDefined(disks[0], "it has a disk").name);
    let value: number | undefined;
    while (!this.#world.trial.isOver) {
      await this.#world.trial.pass(GUEST_MS);
      const mine = (await this.list()).find((vm) => vm.vmId === vmId && vm.epoch === epoch);
      if (mine === undefined || this.#guests.get(vmId) !== guest) return;
      if (mine.state !== "running" || !this.#host.isUp) continue;
      value = await this.#once(vmId, objectId, value);
    }
  }

  /** Returns what the disk holds now, or undefined while that is not known. */
  async #once(vmId: string, objectId: string, value?: number): Promise<number | undefined> {
    const { machine } = this.#host;
    const owner = await within(machine, this.#host.serve(objectId));
    if (owner === undefined) return value;
    if (value === undefined) {
      const found = await within(machine, readNumber(this.#host, owner));
      if (found !== undefined) this.#world.found(vmId, found);
      return found;
    }
    const isWritten = await within(machine, writeNumber(owner, value + 1));
    // What was not answered may have been written, and is read again.
    if (isWritten === undefined) return undefined;
    this.#world.told(vmId, value + 1);
    return value + 1;
  }
}

/** Undefined if it fails; what is asked of a process that dies is answered as if it had failed. */
async function within<T>(machine: TrialHost["machine"], asked: Promise<T>): Promise<T | undefined> {
  try {
    const answer = await asked;
    return machine.isOn ? answer : undefined;
  } catch (error) {
    if (error instanceof CodedError) return undefined;
    throw error;
  }
}

function readNumber(host: TrialHost, { volume }: ObjectOwner): Promise<number> {
  const memory = host.takeMemory();
  return asked((done) => {
    volume.read(memory, 0, SECTOR_SIZE_BYTES, 0, done, 0);
    volume.submit();
  }).then(() => {
    const [value] = readContents(memory.bytes.subarray(0, SECTOR_SIZE_BYTES));
    host.giveMemory(memory);
    return assertDefined(value, "a sector was read");
  });
}

async function writeNumber({ volume }: ObjectOwner, value: number): Promise<true> {
  const bytes = new Uint8Array(SECTOR_SIZE_BYTES);
  fillContent(bytes, value);
  await asked((done) => {
    volume.write(bytes, 0, SECTOR_SIZE_BYTES, 0, done, 0);
    volume.submit();
  });
  return true;
}

function asked(
  issue: (done: (token: number, fault: IoFault | undefined) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    issue((_token, fault) => {
      if (fault === undefined) return resolve();
      return reject(new CodedError({ code: fault, message: errorText(fault) }));
    });
  });
}
