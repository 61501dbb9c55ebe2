/**
 * Moves running machines to other hosts without their guests noticing. Both hosts follow the
 * machine's record: the target makes room and says where it waits, the source sends the machine's
 * memory while the machine runs on, and gives it away by one compare-and-swap of the record.
 *
 * The machine executes on one host at any time, and whoever does not has let go of its volumes:
 * the source gives it away only while it stands still there, is whole at the target, and its
 * volumes are free; the target lets it go on only by a record that says so. When the source does
 * not know whether it has given the machine away, it takes it back by another swap of the record,
 * which succeeds only if it has not. So whatever fails before leaves the machine at the source.
 */
import { CodedError, errorText, formatSize } from "../base/index.ts";
import { decided, findVm, swapVm } from "../cluster/index.ts";
import type { StoredVm, VmMigration, VmRecord } from "../cluster/index.ts";
import type { RunningVm, VmDisk } from "../ports/index.ts";
import { vmStart } from "./vm-start.ts";
import type { VmWorld } from "./vm-world.ts";

/** In the history of a machine that stays where it is. */
export const DOES_NOT_MOVE = "does not move";

/** A target that is not ready by then is given up. */
const READY_MS_MAX = 60_000;
const RETRY_MS = 1000;

/** Ways for the memory of machines from host to host. Every call fails as the network does. */
export interface MigrationWays {
  /** Whatever a host of the cluster sends to the address goes to the socket of this host. */
  offer(vm: string, socket: string): Promise<string>;
  /** Resolves with a socket of this host; what is sent there goes to the address of the other. */
  reach(vm: string, hostId: string, address: string): Promise<string>;
  /** Ends both. Does nothing if there are none. */
  close(vm: string): void;
}

interface Sending {
  readonly id: number;
  isCancelled: boolean;
  readonly whenDone: Promise<void>;
}

export interface MigrationHooks {
  /** Something has changed that the host should look at. */
  readonly wake: () => void;
  readonly note: (error: unknown) => void;
  /** Lets the machine go on, if this host may run machines. */
  readonly resume: (name: string) => Promise<void>;
}

/** A migration that this placement of the machine may still come to. */
export function isUnderWay(record: VmRecord): boolean {
  const { migration, desired, isLeaving, hostId, epoch } = record;
  if (migration?.epoch !== epoch || desired !== "running" || isLeaving) return false;
  const isOpen = migration.phase === "asked" || migration.phase === "ready";
  return isOpen && hostId !== undefined && hostId !== migration.to;
}

/** Whether that host may let the machine go on that has arrived by this migration. */
function hasMovedTo(record: VmRecord, hostId: string, id: number | undefined): boolean {
  const { migration } = record;
  const isGiven = migration?.phase === "moved" && migration.epoch + 1 === record.epoch;
  return isGiven && migration.id === id && migration.to === hostId && record.hostId === hostId;
}

/** Whether one that has arrived is still to run, and here. */
function mayGoOn({ desired, isLeaving }: VmRecord): boolean {
  return desired === "running" && !isLeaving;
}

export class VmMover {
  readonly #world: VmWorld;
  readonly #hooks: MigrationHooks;
  readonly #sending = new Map<string, Sending>();
  readonly #receiving = new Map<string, Promise<void>>();
  /** By machine, the last migration that room was made for. */
  readonly #made = new Map<string, number>();
  /** Since when a target is waited for, by migration. */
  readonly #asked = new Map<string, { readonly id: number; readonly sinceMs: number }>();
  #isClosed = false;

  constructor(world: VmWorld, hooks: MigrationHooks) {
    this.#world = world;
    this.#hooks = hooks;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const name of [...this.#sending.keys()]) await this.#cancel(name);
    const sending = [...this.#sending.values()].map(({ whenDone }) => whenDone);
    await Promise.all([...sending, ...this.#receiving.values()]);
  }

  /** Of a machine that the record places here: whether it must be left alone for now. */
  async holds(vm: RunningVm, stored: StoredVm): Promise<boolean> {
    const { record } = stored;
    const { name, migration } = record;
    const sending = this.#sending.get(name);
    if (sending !== undefined) {
      if (!isUnderWay(record) || migration?.id !== sending.id) await this.#cancel(name);
      return true;
    }
    if (migration === undefined || !isUnderWay(record)) {
      this.#asked.delete(name);
      return false;
    }
    const { id, phase } = migration;
    if (phase === "asked") {
      await this.#awaitTarget(stored, id);
      return false;
    }
    if (vm.state === "running") {
      this.#send(stored, migration);
      return true;
    }
    // It was being sent by a process that is gone, or had to stand still.
    await this.#giveUp(name, id, "this host was interrupted while it sent the machine");
    return true;
  }

  /** Whether a machine is about to stand ready here. */
  isReceiving(name: string): boolean {
    return this.#receiving.has(name);
  }

  /** Whether the machine may go on: its volumes may have been let go of for a migration. */
  async mayResume({ record }: StoredVm): Promise<boolean> {
    if (record.migration?.epoch !== record.epoch) return true;
    return await this.#tried(async () => {
      for (const volume of record.volumes) await this.#world.attach(volume, record.name);
    });
  }

  /** Other machines are looked after all the same; it is tried again. */
  async #tried(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.#hooks.note(error);
      return false;
    }
  }

  /** Of a machine that stands ready here to be sent, or has been; its record, if there is one. */
  async arriving(vm: RunningVm, stored: StoredVm | undefined): Promise<void> {
    const { hostId } = this.#world;
    if (this.#receiving.has(vm.vmId)) return;
    const record = stored?.record;
    const id = vm.migration;
    const isAwaited =
      record !== undefined &&
      isUnderWay(record) &&
      record.migration?.to === hostId &&
      record.migration.id === id;
    if (isAwaited) return;
    const hasArrived = stored !== undefined && hasMovedTo(stored.record, hostId, id);
    if (hasArrived && mayGoOn(stored.record)) {
      await this.#tried(() => this.#goOn(vm, stored));
      return;
    }
    await this.#endArrival(vm.vmId, record?.volumes ?? []);
    // Nothing of it is here any more: the record is to say so.
    if (hasArrived) this.#hooks.wake();
  }

  async #goOn(vm: RunningVm, stored: StoredVm): Promise<void> {
    const { hypervisor, clusterId, directory } = this.#world;
    const { record } = stored;
    for (const volume of record.volumes) await this.#world.attach(volume, record.name);
    await hypervisor.accept(vm.vmId);
    this.#world.ways.close(vm.vmId);
    await this.#hooks.resume(vm.vmId);
    const next = { ...record, startedEpoch: record.epoch };
    const because = `placement ${record.epoch}, with its memory`;
    await swapVm(directory, clusterId, stored, this.#decided(next, "goes on", because));
    this.#tell("vm-started", "info", vm.vmId, `goes on here, placement ${record.epoch}`);
  }

  /** Makes room for machines that are to come here. */
  expect(vms: readonly StoredVm[], running: ReadonlyMap<string, RunningVm>): void {
    const { hostId } = this.#world;
    for (const stored of vms) {
      const { name, migration } = stored.record;
      if (migration?.to !== hostId || migration.phase !== "asked" || !isUnderWay(stored.record))
        continue;
      if (this.#receiving.has(name) || running.has(name)) continue;
      const receiving = this.#receive(stored, migration, this.#leftBytes(vms, name));
      this.#made.set(name, migration.id);
      const done = receiving
        .catch((error: unknown) => this.#hooks.note(error))
        .finally(() => {
          this.#receiving.delete(name);
          this.#hooks.wake();
        });
      this.#receiving.set(name, done);
    }
  }

  /**
   * Bytes of memory, beside what is here, stands ready here or is about to: who has asked for a
   * move knew nothing of what others asked for at the same time.
   */
  #leftBytes(vms: readonly StoredVm[], own: string): number {
    const { hostId, capacity } = this.#world;
    const taking = vms.filter(({ record }) => {
      const { migration, name } = record;
      if (name === own) return false;
      const isToCome = isUnderWay(record) && migration?.to === hostId;
      // The records may have been read before it was ready.
      const isReady = migration?.phase === "ready" || this.#made.get(name) === migration?.id;
      const isComing = this.#receiving.has(name) || (isToCome && isReady);
      return record.hostId === hostId || isComing;
    });
    return taking.reduce((left, { record }) => left - record.memoryBytes, capacity.memoryBytes);
  }

  async #receive(stored: StoredVm, migration: VmMigration, leftBytes: number): Promise<void> {
    const { hypervisor, storage, ways, clusterId, directory } = this.#world;
    const { name, epoch, volumes, memoryBytes } = stored.record;
    try {
      if (memoryBytes > leftBytes)
        throw new CodedError({
          code: "vm-migration-failed",
          message:
            `it needs ${formatSize(memoryBytes)} of memory, and there is left: ` +
            formatSize(Math.max(0, leftBytes)),
        });
      const { inaccessible } = await storage.reach([stored.record]);
      const lacks = inaccessible[0]?.reason;
      if (lacks !== undefined)
        throw new CodedError({ code: "vm-migration-failed", message: `it lacks ${lacks}` });
      const disks: VmDisk[] = [];
      for (const volume of volumes)
        disks.push({ name: volume, ...(await this.#world.expect(volume, name)) });
      const machine = vmStart(clusterId, stored.record, epoch + 1, disks);
      const socket = await hypervisor.receive(machine, migration.id);
      const address = await ways.offer(name, socket);
      const next = {
        ...stored.record,
        migration: { ...migration, phase: "ready", address },
      } as const;
      const said = this.#decided(next, "is ready for it", "it was asked for");
      // If the record has changed, the next look at it shows whether the machine is still to come.
      if (!(await swapVm(directory, clusterId, stored, said)))
        await this.#endArrival(name, volumes);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      await this.#endArrival(name, volumes);
      await this.#giveUp(name, migration.id, `the target cannot take it: ${error.message}`);
    }
  }

  async #endArrival(name: string, volumes: readonly string[]): Promise<void> {
    this.#world.ways.close(name);
    await this.#world.hypervisor.kill(name);
    for (const volume of volumes) await this.#world.detach(volume, name);
  }

  async #awaitTarget({ record: { name } }: StoredVm, id: number): Promise<void> {
    const nowMs = this.#world.clock.nowMs();
    const asked = this.#asked.get(name);
    if (asked?.id !== id) this.#asked.set(name, { id, sinceMs: nowMs });
    else if (nowMs - asked.sinceMs > READY_MS_MAX)
      await this.#giveUp(name, id, "the target was not ready in time");
  }

  #send(stored: StoredVm, migration: VmMigration): void {
    const { name } = stored.record;
    const whenDone = this.#sendWhole(stored.record, migration)
      .catch((error: unknown) => this.#hooks.note(error))
      .finally(() => {
        this.#world.ways.close(name);
        this.#sending.delete(name);
        this.#hooks.wake();
      });
    this.#sending.set(name, { id: migration.id, isCancelled: false, whenDone });
  }

  async #sendWhole(record: VmRecord, migration: VmMigration): Promise<void> {
    const { hypervisor, ways, detach, nameOf } = this.#world;
    const { name, volumes } = record;
    const { id, to, address } = migration;
    const target = nameOf(to);
    try {
      await hypervisor.send(name, await ways.reach(name, to, address));
      // From here on it stands still, until it is given away or taken back.
      for (const volume of volumes) await detach(volume, name);
      if (await this.#giveAway(name, migration))
        this.#tell("vm-moved", "info", name, `has moved to ${target} with all its memory`);
      else await this.#giveUp(name, id, "something else was decided meanwhile");
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      await this.#giveUp(name, id, errorText(error));
    }
  }

  async #giveAway(name: string, migration: VmMigration): Promise<boolean> {
    const { directory, clusterId, nameOf } = this.#world;
    const stored = await findVm(directory, clusterId, name);
    const { record } = stored;
    if (!isUnderWay(record) || record.migration?.id !== migration.id) return false;
    const moved = { ...migration, phase: "moved" } as const;
    const next = { ...record, migration: moved, hostId: migration.to, epoch: record.epoch + 1 };
    const what = `moved to ${nameOf(migration.to)}`;
    const because = "all its memory is there, and its volumes are free";
    return await swapVm(directory, clusterId, stored, this.#decided(next, what, because));
  }

  /**
   * The machine stays where it is. Returns when the record says so, or something else: until then
   * it may have been given away, by a swap whose outcome nobody knows.
   */
  async #giveUp(name: string, id: number, because: string): Promise<void> {
    const { directory, clusterId, clock } = this.#world;
    for (;;) {
      try {
        const stored = await findVm(directory, clusterId, name);
        const { record } = stored;
        if (!isUnderWay(record) || record.migration?.id !== id) return;
        const over = { ...record.migration, phase: "over" } as const;
        const next = this.#decided({ ...record, migration: over }, DOES_NOT_MOVE, because);
        if (!(await swapVm(directory, clusterId, stored, next))) continue;
        this.#tell("vm-failed", "warning", name, `does not move: ${because}`);
        return;
      } catch (error) {
        if (!(error instanceof CodedError) || error.code === "vm-not-found") throw error;
        if (this.#isClosed) return;
        this.#hooks.note(error);
        await new Promise<void>((resolve) => void clock.after(RETRY_MS, resolve));
      }
    }
  }

  async #cancel(name: string): Promise<void> {
    const sending = this.#sending.get(name);
    if (sending === undefined || sending.isCancelled) return;
    sending.isCancelled = true;
    await this.#world.hypervisor.cancelSend(name);
  }

  #decided(record: VmRecord, what: string, because: string): VmRecord {
    const { clock, hostId } = this.#world;
    return decided(record, { timeMs: Math.round(clock.wallMs()), hostId, what, because });
  }

  #tell(
    kind: "vm-started" | "vm-moved" | "vm-failed",
    level: "info" | "warning",
    name: string,
    what: string,
  ): void {
    const message = `virtual machine ${name} ${what}`;
    this.#world.addEvent({ kind, level, message, details: { vm: name } });
    this.#world.log.write(level, message, { event: kind });
  }
}
