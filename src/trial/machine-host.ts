/** A host of a trial with virtual machines: the product's own VmHost, and guests that count. */
import { assertDefined, CodedError } from "../base/index.ts";
import { findVm, RemoteDirectoryClient } from "../cluster/index.ts";
import { VmHost } from "../ha/index.ts";
import type { HaPeers, VmCapacity } from "../ha/index.ts";
import type { VmStart } from "../ports/index.ts";
import { SimHypervisor, SimMachine, SimNetwork } from "../sim/index.ts";
import { BugLog } from "./bug-log.ts";
import type { OwnedDisk } from "./guest-disks.ts";
import { CLUSTER_ID } from "./names.ts";
import type { MachineWorld } from "./machine-world.ts";

const GUEST_MS = 150;

export class MachineHost {
  readonly id: string;
  readonly address: string;
  readonly #world: MachineWorld;
  readonly #owned = new Map<string, OwnedDisk>();
  #machine: SimMachine;
  #hypervisor: SimHypervisor;
  #host: VmHost | undefined;
  #starts = 0;
  #wallOffsetMs = 0;
  /** Fault: so long until the disks of a machine that is to be started here are taken. */
  attachMs = 0;
  readonly #capacity: VmCapacity;

  constructor(world: MachineWorld, number: number) {
    this.#world = world;
    const { memoryBytes, cpuCount } = world.layout;
    this.#capacity = { memoryBytes: memoryBytes[number - 1]!, cpuCount };
    this.id = `h${number}`;
    this.address = `10.2.0.${number}`;
    this.#machine = new SimMachine(world.simulation);
    this.#hypervisor = new GuestHypervisor(world, this);
  }

  get wallOffsetMs(): number {
    return this.#wallOffsetMs;
  }

  /** A machine keeps it when its host process dies, or loses power. */
  setWallOffset(ms: number): void {
    this.#wallOffsetMs = ms;
    this.#machine.clock.wallOffsetMs = ms;
  }

  get isUp(): boolean {
    return this.#host !== undefined;
  }

  start(): void {
    const { fabric, directoryAddress, disks, rules } = this.#world;
    const machine = this.#machine;
    const { clock } = machine;
    const log = new BugLog(clock);
    const network = new SimNetwork(this.#machine, fabric, [this.address]);
    const address = directoryAddress;
    const directory = new RemoteDirectoryClient({ network, address, clock, log });
    disks.setUp(this.id, true);
    this.#host = new VmHost({
      directory,
      hypervisor: this.#hypervisor,
      clock,
      log,
      clusterId: CLUSTER_ID,
      hostId: this.id,
      incarnation: ++this.#starts,
      attach: async (disk) => {
        if (this.attachMs > 0) await askedBy(machine, this.#world.pass(this.attachMs));
        this.#owned.set(disk, await askedBy(machine, disks.take(disk, this.id)));
        return { vhostSocket: `/run/${disk}` };
      },
      detach: async (disk) => {
        if (machine.isOn) this.#owned.delete(disk);
      },
      expect: async (disk) => ({ vhostSocket: `/run/${disk}` }),
      ways: {
        offer: async (_vm, socket) => socket,
        reach: async (vm, to, address) => {
          if (this.#world.isCut(this.id) || this.#world.isCut(to) || !this.#world.host(to).isUp)
            throw new CodedError({ code: "vm-migration-failed", message: `no way for ${vm}` });
          return address;
        },
        close: () => {},
      },
      storage: disks.storageOf(this.id),
      capacity: this.#capacity,
      peers: this.#peers(),
      nameOf: (hostId) => hostId,
      addEvent: ({ kind, message, details }) => {
        this.#world.trace.add(this.id, `${kind}: ${message}`);
        if (kind === "vm-failed") this.#world.failed(String(details["vm"]));
      },
      rules,
    });
    this.#host.start();
  }

  cutPower(): void {
    this.#hypervisor.end();
    this.#owned.clear();
    this.killProcess();
    this.#hypervisor = new GuestHypervisor(this.#world, this);
  }

  /** Guests run on, and what they ask of their disks waits. */
  killProcess(): void {
    this.#host = undefined;
    this.#world.disks.setUp(this.id, false);
    this.#machine.cutPower({ kind: "all" });
    this.#machine = new SimMachine(this.#world.simulation);
    this.setWallOffset(this.#wallOffsetMs);
  }

  failStarts(count: number): void {
    this.#hypervisor.startsToFail = count;
  }

  failSends(count: number): void {
    this.#hypervisor.sendsToFail = count;
  }

  /** As long as the process lives that asks. */
  async whileUp<T>(asked: Promise<T>): Promise<T> {
    return await askedBy(this.#machine, asked);
  }

  /** As a host does with requests that it holds while a volume of its own has been lost. */
  async takeAgain(vm: string, epoch: number, { disk }: OwnedDisk): Promise<void> {
    const machine = this.#machine;
    const { directory, disks } = this.#world;
    try {
      // It may be unreadable just now: nobody does anything about it then.
      const { record } = await findVm(directory, CLUSTER_ID, vm);
      const isMine = record.hostId === this.id && record.epoch === epoch && !record.isLeaving;
      if (!isMine || !this.isUp || this.#world.isCut(this.id)) return;
      const owned = await disks.take(disk, this.id);
      if (machine.isOn && this.#owned.has(disk)) this.#owned.set(disk, owned);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
    }
  }

  owns(disk: string): OwnedDisk | undefined {
    return this.#owned.get(disk);
  }

  #peers(): HaPeers {
    const { disks } = this.#world;
    const at = async (to: string): Promise<void> => {
      await this.#world.pass(this.#world.callMs);
      if (this.#world.isCut(this.id) || this.#world.isCut(to) || !this.#world.host(to).isUp)
        throw new Error(`${to} does not answer`);
    };
    return {
      isAccessible: async (to, vm) => {
        await at(to);
        const isYes = disks.reachesAll(to, { volumes: this.#world.volumesOf(vm) });
        await this.#world.pass(this.#world.callMs);
        return isYes;
      },
      persist: async (to, vm) => {
        await at(to);
        const { record } = await findVm(this.#world.directory, CLUSTER_ID, vm);
        await disks.storageOf(to).persist(record);
      },
      retrieve: async (to, vms) => {
        await at(to);
        return await disks.storageOf(to).retrieve(vms);
      },
    };
  }
}

/** What a process has asked for that has died meanwhile comes back to nobody. */
async function askedBy<T>(machine: SimMachine, asked: Promise<T>): Promise<T> {
  const [outcome] = await Promise.allSettled([asked]);
  if (!machine.isOn) return await new Promise<T>(() => {});
  if (outcome.status === "rejected") throw outcome.reason;
  return outcome.value;
}

/** Each machine counts on its disk for as long as it executes. */
class GuestHypervisor extends SimHypervisor {
  readonly #world: MachineWorld;
  readonly #host: MachineHost;
  readonly #arriving = new Map<string, VmStart>();
  /** By machine, the guest that was started last: a machine may be started twice at one epoch. */
  readonly #guests = new Map<string, symbol>();

  constructor(world: MachineWorld, host: MachineHost) {
    // The guard's clock is the machine's, which goes on when the host process dies.
    super(
      world.simulation.clock,
      (vm, isExecuting) => world.executes(host.id, vm, isExecuting),
      world.arrivals,
    );
    this.#world = world;
    this.#host = host;
  }

  override allow(ms: number, left?: ReadonlySet<string>): void {
    if (this.#world.mutant?.runsWithoutLease !== true) super.allow(ms, left);
  }

  override async pause(vmId: string): Promise<void> {
    if (this.#world.mutant?.runsWithoutLease !== true) await super.pause(vmId);
  }

  override async start(vm: VmStart): Promise<void> {
    await super.start(vm);
    this.#world.started(vm.vmId);
    this.#begin(vm);
  }

  override async receive(vm: VmStart, migration: number): Promise<string> {
    this.#arriving.set(vm.vmId, vm);
    return await super.receive(vm, migration);
  }

  /** What it has counted comes with its memory, and its disk holds no less. */
  override async accept(vmId: string): Promise<void> {
    await super.accept(vmId);
    this.#begin(assertDefined(this.#arriving.get(vmId), "it was waited for"));
  }

  override async send(vmId: string, socket: string): Promise<void> {
    await this.#host.whileUp(super.send(vmId, socket));
  }

  #begin(vm: VmStart): void {
    this.#count(vm).catch((error: unknown) => this.#world.crashed(error));
  }

  /** Each of its disks in turn. */
  async #count({ vmId, epoch, disks }: VmStart): Promise<void> {
    const names = disks.map(({ name }) => name);
    const found = names.map((disk) => assertDefined(this.#host.owns(disk), "it was attached"));
    for (const first of found) this.#world.booted(first.disk, first.epoch, first.value);
    const guest = Symbol(vmId);
    this.#guests.set(vmId, guest);
    let value = Math.max(...found.map((first) => first.value));
    for (let turn = 0; !this.#world.isOver;) {
      await this.#world.pass(GUEST_MS);
      const mine = (await this.list()).find((vm) => vm.vmId === vmId && vm.epoch === epoch);
      if (mine === undefined || this.#guests.get(vmId) !== guest) return;
      const disk = names[turn % names.length]!;
      const owned = this.#host.owns(disk);
      if (mine.state !== "running" || owned === undefined || !this.#host.isUp) continue;
      if (!(await this.#world.disks.write(owned, value + 1))) {
        await this.#host.takeAgain(vmId, epoch, owned);
        continue;
      }
      this.#world.acknowledged(disk, owned.epoch, value + 1);
      turn++;
      if (turn % names.length === 0) value++;
    }
  }
}
