/**
 * The host that decides where virtual machines run: one at a time, by a key in the directory that
 * lives as long as its lease. Each decision is a compare-and-swap of the machine's record with its
 * reason, so a master that was replaced and does not know it yet decides nothing twice.
 *
 * A host counts as failed when its lease has ended: by then it has stopped its machines itself, by
 * its own clock and half a second earlier. One that lives and no longer reaches all objects of a
 * machine over the storage network is told to end it; once it has, the machine is placed anew.
 */
import { decided, directoryKeys, findVm, isProtected, swapVm } from "../cluster/index.ts";
import type { StoredVm, VmRecord } from "../cluster/index.ts";
import type { HostLease } from "../plane/index.ts";
import { HostViews } from "./host-views.ts";
import { ProtectionKeeper } from "./protection.ts";
import type { VmWorld } from "./vm-host.ts";

/** A machine that did not start on a host is tried on others for so long. */
const AVOID_MS = 60_000;
/** When it has started nowhere, the next attempt waits for so long. */
const RETRY_MS = 10_000;
/** For so long a host may not reach a machine's objects: its disks wait as long, and longer. */
const STORAGE_LOSS_MS = 2000;
const SWAP_ATTEMPTS_MAX = 5;

interface Loss {
  readonly epoch: number;
  readonly sinceMs: number;
}

export class VmMaster {
  readonly #world: VmWorld;
  readonly #lease: HostLease;
  readonly #keeper: ProtectionKeeper;
  /** Machines whose hosts do not reach all their objects. */
  readonly #losses = new Map<string, Loss>();
  #isMaster = false;

  constructor(world: VmWorld, lease: HostLease) {
    this.#world = world;
    this.#lease = lease;
    this.#keeper = new ProtectionKeeper({
      ...world,
      persisted: (vm, sequence, because) => this.#persisted(vm, sequence, because),
      waits: (vm, sequence, because) => this.#notYet(vm, sequence, because),
      note: (error) => world.log.write("warning", `a machine is not protected: ${String(error)}`),
    });
  }

  /** Whether it was at its last decision. */
  get isMaster(): boolean {
    return this.#isMaster;
  }

  /**
   * Places what has no host, or one that has failed; sends machines away from hosts that do not
   * reach their objects; has what is wanted persisted. Does nothing on hosts that are not master.
   */
  async decide(vms: readonly StoredVm[]): Promise<void> {
    const wasMaster = this.#isMaster;
    this.#isMaster = await this.#holdsOffice();
    if (!this.#isMaster) return;
    const { directory, clusterId } = this.#world;
    const prefix = directoryKeys.vmHosts(clusterId);
    const { records } = await directory.list(prefix);
    const alive = records.map(({ key }) => key.slice(prefix.length));
    const views = await HostViews.read(directory, clusterId);
    if (!wasMaster) await this.#retrieve(vms, alive);
    const load = new Map(alive.map((hostId) => [hostId, 0]));
    for (const { record } of vms)
      if (record.hostId !== undefined && load.has(record.hostId))
        load.set(record.hostId, load.get(record.hostId)! + record.memoryBytes);
    for (const stored of vms) {
      const why = this.#whyToPlace(stored, alive);
      if (why !== undefined) await this.#place(stored, load, views, why);
      else await this.#watchStorage(stored, alive, views);
    }
    this.#keeper.keep(
      vms.map(({ record }) => record),
      alive,
      views,
    );
  }

  async #holdsOffice(): Promise<boolean> {
    const { directory, clusterId, hostId } = this.#world;
    const key = directoryKeys.vmMaster(clusterId);
    const lease = this.#lease.id;
    const found = await directory.get(key);
    if (found !== undefined) return found.value === hostId && this.#lease.isAlive();
    if (lease === undefined || !this.#lease.isAlive()) return false;
    const put = { kind: "put", key, value: hostId, lease } as const;
    const { succeeded } = await directory.transact([{ key, revision: 0 }], [put]);
    if (succeeded) this.#world.log.write("info", "this host decides where virtual machines run");
    return succeeded;
  }

  /** The master before may have had something persisted, and not lived to say so. */
  async #retrieve(vms: readonly StoredVm[], alive: readonly string[]): Promise<void> {
    const open = vms.filter(({ record }) => record.persistedSequence < record.protectionSequence);
    if (open.length === 0) return;
    const names = open.map(({ record }) => record.name);
    for (const { vm, sequence } of (await this.#keeper.retrieve(names, alive)).values())
      await this.#persisted(vm, sequence, "it was found in its home by the new master");
  }

  #whyToPlace({ record }: StoredVm, alive: readonly string[]): string | undefined {
    if (record.desired !== "running") return undefined;
    if (record.hostId === undefined) return "it should run and has no host";
    if (alive.includes(record.hostId) || !isProtected(record)) return undefined;
    return `the lease of host ${this.#world.nameOf(record.hostId)} has ended`;
  }

  /**
   * Its host lives. If that one does not reach its objects, and another one does, it is to leave.
   */
  async #watchStorage(stored: StoredVm, alive: readonly string[], views: HostViews): Promise<void> {
    const { record } = stored;
    const { name, hostId, epoch } = record;
    const { clock, nameOf } = this.#world;
    const mayMove = record.desired === "running" && isProtected(record) && !record.isLeaving;
    const reason = hostId === undefined ? undefined : views.whyNot(hostId, name);
    const isThere = hostId !== undefined && alive.includes(hostId);
    if (!mayMove || reason === undefined || !isThere) {
      this.#losses.delete(name);
      return;
    }
    const loss = this.#losses.get(name);
    if (loss?.epoch !== epoch) {
      this.#losses.set(name, { epoch, sinceMs: clock.nowMs() });
      return;
    }
    if (clock.nowMs() - loss.sinceMs < STORAGE_LOSS_MS) return;
    const better = alive.find((other) => views.whyNot(other, name) === undefined);
    if (better === undefined) return;
    const what = `sent away from ${nameOf(hostId)}`;
    const because = `${reason}, as ${nameOf(hostId)} sees it; ${nameOf(better)} reaches all of it`;
    if (await this.#decide(stored, { isLeaving: true }, what, because))
      this.#tell(record, hostId, `is ${what}: ${because}`);
  }

  async #place(
    stored: StoredVm,
    load: Map<string, number>,
    views: HostViews,
    why: string,
  ): Promise<void> {
    const { nameOf } = this.#world;
    const { record } = stored;
    const alive = [...load].filter(([host]) => host !== record.hostId);
    const candidates = alive.filter(([host]) => views.whyNot(host, record.name) === undefined);
    if (candidates.length === 0) {
      const reasons = alive.map(([host]) => `${nameOf(host)}: ${views.whyNot(host, record.name)}`);
      await this.#waits(stored, `${why}; no host can run it (${reasons.join("; ")})`);
      return;
    }
    const nowMs = this.#world.clock.wallMs();
    const failures = record.history.filter(({ what, timeMs }) => {
      return what === "does not start here" && nowMs - timeMs < AVOID_MS;
    });
    const failedMs = new Map(failures.map((decision) => [decision.hostId, decision.timeMs]));
    const lastMs = failures.at(-1)?.timeMs ?? -Infinity;
    const areAllTried = candidates.every(([host]) => failedMs.has(host));
    if (areAllTried && nowMs - lastMs < RETRY_MS) return;
    // Where it failed longest ago, or never; then where the least memory is in use.
    const [target] = candidates.toSorted(([a, x], [b, y]) => {
      return (failedMs.get(a) ?? 0) - (failedMs.get(b) ?? 0) || x - y || (a < b ? -1 : 1);
    });
    const [chosen] = target!;
    const fit =
      candidates.length === alive.length
        ? `of ${alive.length} hosts alive`
        : `of ${candidates.length} hosts that reach its objects, of ${alive.length} alive,`;
    const because = `${why}; ${fit} this one has the least memory in use`;
    const change = { hostId: chosen, epoch: record.epoch + 1, isLeaving: false };
    if (!(await this.#decide(stored, change, `placed on ${nameOf(chosen)}`, because))) return;
    load.set(chosen, load.get(chosen)! + record.memoryBytes);
    this.#tell(record, chosen, `is placed on ${nameOf(chosen)}: ${why}`);
  }

  /** Said once for each reason. */
  async #waits(stored: StoredVm, because: string): Promise<void> {
    const last = stored.record.history.at(-1);
    if (last?.what === "waits" && last.because === because) return;
    if (await this.#decide(stored, {}, "waits", because))
      this.#tell(stored.record, "", `waits: ${because}`);
  }

  async #persisted(name: string, sequence: number, because: string): Promise<void> {
    await this.#swap(name, (record) => {
      if (record.persistedSequence >= sequence || record.protectionSequence < sequence)
        return undefined;
      const what = record.isProtected ? "protected" : "no longer protected";
      return [{ persistedSequence: sequence }, what, because];
    });
  }

  async #notYet(name: string, sequence: number, because: string): Promise<void> {
    await this.#swap(name, (record) => {
      const last = record.history.at(-1);
      const isSaid = last?.what === "not protected yet" && last.because === because;
      if (record.protectionSequence !== sequence || isSaid) return undefined;
      return [{}, "not protected yet", because];
    });
  }

  async #swap(
    name: string,
    change: (record: VmRecord) => readonly [Partial<VmRecord>, string, string] | undefined,
  ): Promise<void> {
    const { directory, clusterId } = this.#world;
    for (let i = 0; i < SWAP_ATTEMPTS_MAX; i++) {
      const stored = await findVm(directory, clusterId, name);
      const next = change(stored.record);
      if (next === undefined || (await this.#decide(stored, ...next))) return;
    }
  }

  async #decide(
    stored: StoredVm,
    change: Partial<VmRecord>,
    what: string,
    because: string,
  ): Promise<boolean> {
    const { directory, clusterId, hostId, clock } = this.#world;
    const decision = { timeMs: Math.round(clock.wallMs()), hostId, what, because };
    const next = decided({ ...stored.record, ...change }, decision);
    return await swapVm(directory, clusterId, stored, next);
  }

  #tell({ name }: VmRecord, host: string, what: string): void {
    const message = `virtual machine ${name} ${what}`;
    const details = { vm: name, host };
    this.#world.addEvent({ kind: "vm-moved", level: "warning", message, details });
  }
}
