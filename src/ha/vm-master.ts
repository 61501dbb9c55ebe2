/**
 * The host that decides where virtual machines run: one at a time, by a key in the directory that
 * lives as long as its lease. Each decision is a compare-and-swap of the machine's record with its
 * reason, so a master that was replaced and does not know it yet decides nothing twice.
 *
 * A host counts as failed when its lease has ended: by then it has stopped its machines itself, by
 * its own clock and half a second earlier. One that lives and no longer reaches all objects of a
 * machine over the storage network is told to end it; once it has, the machine is placed anew.
 */
import {
  decided,
  directoryKeys,
  findVm,
  isProtected,
  listServices,
  readHaSettings,
  swapVm,
} from "../cluster/index.ts";
import type { StoredVm, VmRecord } from "../cluster/index.ts";
import type { HostLease } from "../plane/index.ts";
import type { DirectoryCondition, LeaseId } from "../ports/index.ts";
import { hostsOnDuty, HostViews, NOBODY_UNHEARD, unheardHosts } from "./host-views.ts";
import { ProtectionKeeper } from "./protection.ts";
import { Places, planRestarts } from "./restart-plan.ts";
import type { Start, Wait } from "./restart-plan.ts";
import { decidedAgain, isSaid } from "./said-again.ts";
import type { VmWorld } from "./vm-world.ts";

/** For so long a host may not reach a machine's objects: its disks wait as long, and longer. */
const STORAGE_LOSS_MS = 2000;
const SWAP_ATTEMPTS_MAX = 5;
/** So seldom it is asked who has the office while another host does: a watch tells of changes. */
const OFFICE_MS = 1000;
/** How often a machine that waits would be tried if waiting were an attempt. */
const RETRY_MS = 1000;

interface Loss {
  readonly epoch: number;
  readonly sinceMs: number;
}

interface DecisionOptions {
  /** What has to hold beside that the record has not changed. */
  readonly also?: readonly DirectoryCondition[];
  /** It may be said again and again. */
  readonly isRepeated?: boolean;
}

/** What it decides by, beside the machines. */
interface Seen {
  readonly alive: readonly string[];
  readonly views: HostViews;
  readonly isArmed: boolean;
  /** That nobody has armed or disarmed since. */
  readonly stillSo: DirectoryCondition;
  readonly closed: ReadonlySet<string>;
  readonly unbound: ReadonlySet<string>;
  readonly removed: ReadonlySet<string>;
}

export class VmMaster {
  readonly #world: VmWorld;
  readonly #lease: HostLease;
  readonly #keeper: ProtectionKeeper;
  /** Machines whose hosts do not reach all their objects. */
  readonly #losses = new Map<string, Loss>();
  #isMaster = false;
  /** Under which the office was taken; it ends with that one. */
  #officeLease: LeaseId | undefined;
  /** Of the key by which this host has the office. */
  #officeRevision = 0;
  /** Another host has the office, and would be asked after again from then on. */
  #isOthersUntilMs = -Infinity;
  #officeChanges = 0;

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

  /** Or may have: who has the office is read at the next decision. */
  officeChanged(): void {
    this.#officeChanges++;
    this.#isOthersUntilMs = -Infinity;
  }

  /**
   * Places what has no host, or one that has failed; sends machines away from hosts that do not
   * reach their objects; has what is wanted persisted. Does nothing on hosts that are not master.
   */
  async decide(vms: readonly StoredVm[]): Promise<void> {
    const wasMaster = this.#isMaster;
    // Who has had the office most likely has it still, and asks for all it needs in one turn.
    const [isMaster, seen] = await Promise.all([
      this.#holdsOffice(),
      wasMaster ? this.#see(vms) : undefined,
    ]);
    this.#isMaster = isMaster;
    if (!isMaster) return;
    const known = seen ?? (await this.#see(vms));
    const { alive, views, isArmed } = known;
    if (!wasMaster) await this.#retrieve(vms, alive);
    const { clock, nameOf } = this.#world;
    const wallMs = Math.round(clock.wallMs());
    const plan = planRestarts({ ...known, vms, wallMs, nameOf });
    // All that may start now are of one priority.
    await Promise.all(plan.starts.map((start) => this.#place(start, known)));
    for (const move of plan.moves) await this.#move(move, known);
    for (const wait of plan.waits) await this.#waits(wait);
    for (const stored of vms) await this.#release(stored, known);
    if (isArmed) {
      // With what was just placed, and what leaves its host and is not placed yet.
      const places = new Places({ ...known, vms, wallMs, nameOf }, plan);
      for (const stored of vms) await this.#watchStorage(stored, known, places);
    }
    this.#keeper.keep(
      vms.map(({ record }) => record),
      alive,
      views,
    );
  }

  async #see(vms: readonly StoredVm[]): Promise<Seen> {
    const { directory, clusterId, rules } = this.#world;
    const [alive, views, { settings, revision }, services] = await Promise.all([
      hostsOnDuty(directory, clusterId),
      HostViews.read(directory, clusterId, rules?.areHeartbeatsHeard === false),
      readHaSettings(directory, clusterId),
      listServices(directory, clusterId),
    ]);
    const closed = new Set(services.map(({ id }) => id));
    const isUnheard = ({ record: { hostId } }: StoredVm): boolean =>
      hostId !== undefined && !alive.includes(hostId);
    // After the leases: a host that has lost its own writes it no more.
    const { unbound, removed } = vms.some(isUnheard)
      ? await unheardHosts(directory, clusterId)
      : NOBODY_UNHEARD;
    const isArmed = settings.isArmed || rules?.isDisarmedHeeded === false;
    const stillSo = { key: directoryKeys.haSettings(clusterId), revision };
    return { alive, views, isArmed, stillSo, closed, unbound, removed };
  }

  async #holdsOffice(): Promise<boolean> {
    const { directory, clusterId, hostId, clock } = this.#world;
    if (clock.nowMs() < this.#isOthersUntilMs) return false;
    const key = directoryKeys.vmMaster(clusterId);
    const lease = this.#lease.id;
    const untilMs = clock.nowMs() + OFFICE_MS;
    const changes = this.#officeChanges;
    const found = await directory.get(key);
    const isOwn = found?.value === hostId;
    // What was told of meanwhile may be newer than the answer.
    const isOthers = found !== undefined && !isOwn && changes === this.#officeChanges;
    this.#isOthersUntilMs = isOthers ? untilMs : -Infinity;
    if (!this.#lease.isAlive() || (found !== undefined && !isOwn)) return false;
    this.#officeRevision = found?.revision ?? 0;
    if (isOwn && (lease === undefined || lease === this.#officeLease)) return true;
    if (lease === undefined) return false;
    const put = { kind: "put", key, value: hostId, lease } as const;
    const revision = found?.revision ?? 0;
    const { succeeded, revision: taken } = await directory.transact([{ key, revision }], [put]);
    if (!succeeded) return false;
    this.#officeRevision = taken;
    this.#officeLease = lease;
    if (!isOwn) this.#world.log.write("info", "this host decides where virtual machines run");
    return true;
  }

  /** The master before may have had something persisted, and not lived to say so. */
  async #retrieve(vms: readonly StoredVm[], alive: readonly string[]): Promise<void> {
    const open = vms.filter(({ record }) => record.persistedSequence < record.protectionSequence);
    if (open.length === 0) return;
    const names = open.map(({ record }) => record.name);
    for (const { vm, sequence } of (await this.#keeper.retrieve(names, alive)).values())
      await this.#persisted(vm, sequence, "it was found in its home by the new master");
  }

  /**
   * Its host lives. If that one does not reach its objects, and another one does and has room for
   * it, it is to leave.
   */
  async #watchStorage(
    stored: StoredVm,
    { alive, views, stillSo }: Seen,
    places: Places,
  ): Promise<void> {
    const { record } = stored;
    const { name, hostId, epoch } = record;
    const { clock, nameOf } = this.#world;
    const isToMove = record.storageLoss !== "leave" && !record.isLeaving;
    const mayMove = record.desired === "running" && isProtected(record) && isToMove;
    // A host whose lease is back may not have said yet what it reaches, and loses nothing by that.
    const reason = hostId === undefined ? undefined : views.lossOf(hostId, name);
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
    const better = places.reserve(record);
    if (better === undefined) return;
    const what = `sent away from ${nameOf(hostId)}`;
    const because = `${reason}, as ${nameOf(hostId)} sees it; ${nameOf(better)} reaches all of it`;
    const isEndedFirst = this.#world.rules?.isEndedFirst !== false;
    const change = isEndedFirst ? { isLeaving: true } : { hostId: undefined };
    const also = [...this.#office(), ...this.#isArmedStill(stillSo)];
    if (await this.#decide(stored, change, what, because, { also }))
      this.#tell(record, hostId, `is ${what}: ${because}`);
  }

  async #place({ stored, hostId, because }: Start, { stillSo }: Seen): Promise<void> {
    const { nameOf } = this.#world;
    const { record } = stored;
    const change = { hostId, epoch: record.epoch + 1, isLeaving: false };
    const what = `placed on ${nameOf(hostId)}`;
    const also = [...this.#office(), ...this.#isGone(record.hostId)];
    if (record.hostId !== undefined) also.push(...this.#isArmedStill(stillSo));
    if (!(await this.#decide(stored, change, what, because, { also }))) return;
    this.#tell(record, hostId, `is placed on ${nameOf(hostId)}: ${because}`);
  }

  /**
   * That no other host has followed this one, and placed machines that it knows nothing of: what is
   * left on hosts, and whose turn it is, may have changed with records that this host leaves alone.
   */
  #office(): readonly DirectoryCondition[] {
    if (this.#world.rules?.isOfficeHeld === false) return [];
    const key = directoryKeys.vmMaster(this.#world.clusterId);
    return [{ key, revision: this.#officeRevision }];
  }

  /** Who has been told that it is disarmed relies on it. */
  #isArmedStill(stillSo: DirectoryCondition): readonly DirectoryCondition[] {
    return this.#world.rules?.isArmedStill === false ? [] : [stillSo];
  }

  /**
   * That it lives by a lease, and that one is gone.
   * A host that was gone when the plan was made may be back, and may have begun to start what is
   * still its own.
   */
  #isGone(hostId: string | undefined): readonly DirectoryCondition[] {
    if (hostId === undefined || this.#world.rules?.isLeaseGoneFirst === false) return [];
    const { clusterId } = this.#world;
    const keys = [directoryKeys.vmHost(clusterId, hostId)];
    keys.push(directoryKeys.vmUnbound(clusterId, hostId));
    return keys.map((key) => ({ key, revision: 0 }));
  }

  /**
   * Its host is gone and cannot say that it has ended it. Who kills it all the same, or removes its
   * host, says that nothing depends on what may still execute there: the storage lets go of that as
   * soon as another host takes the volumes.
   */
  async #release(stored: StoredVm, { alive, removed, unbound }: Seen): Promise<void> {
    const { hostId, desired, isolation } = stored.record;
    if (hostId === undefined || desired === "running" || alive.includes(hostId)) return;
    const { clusterId, nameOf } = this.#world;
    const isRemoved = removed.has(hostId);
    if (desired !== "killed" && !isRemoved) return;
    const what = `given up on ${nameOf(hostId)}`;
    const mayRunOn = unbound.has(hostId) || isolation === "leave";
    const because = isRemoved
      ? "its host was removed from the cluster"
      : "it was told to end, and the lease of its host has ended" +
        (mayRunOn ? "; if that one is not off, it runs on there until that one is back" : "");
    const also = [{ key: directoryKeys.vmHost(clusterId, hostId), revision: 0 }];
    const change = { hostId: undefined, isLeaving: false };
    if (await this.#decide(stored, change, what, because, { also }))
      this.#tell(stored.record, hostId, `is ${what}: ${because}`);
  }

  /** While it runs. */
  async #move({ stored, hostId, because }: Start, { stillSo }: Seen): Promise<void> {
    const { epoch, migration: last } = stored.record;
    const id = (last?.id ?? 0) + 1;
    const migration = { id, to: hostId, epoch, phase: "asked", address: "" } as const;
    const what = `to move to ${this.#world.nameOf(hostId)}`;
    const also = [...this.#office(), ...this.#isArmedStill(stillSo)];
    await this.#decide(stored, { migration }, what, because, { also });
  }

  /** Said once for each reason; that it is not its turn for a moment is not worth it. */
  async #waits({ stored, for: what, because }: Wait): Promise<void> {
    if (what === "turn" || what === "back-off") return;
    const said = `waits for ${what}`;
    const attempt = this.#attemptUsedUp(stored.record);
    const wallMs = this.#world.clock.wallMs();
    if (isSaid(stored.record, said, because, wallMs) && attempt === undefined) return;
    if (await this.#decide(stored, attempt ?? {}, said, because, { isRepeated: true }))
      this.#tell(stored.record, "", `waits for ${what}: ${because}`);
  }

  /** Waiting uses none up; trials find out what becomes of a cluster in which it does. */
  #attemptUsedUp({ failureCount, lastFailureMs }: VmRecord): Partial<VmRecord> | undefined {
    const { rules, clock } = this.#world;
    const wallMs = Math.round(clock.wallMs());
    if (rules?.isWaitingFree !== false || wallMs - lastFailureMs < RETRY_MS) return undefined;
    return { failureCount: failureCount + 1, lastFailureMs: wallMs };
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
      const what = "not protected yet";
      if (record.protectionSequence !== sequence) return undefined;
      if (isSaid(record, what, because, this.#world.clock.wallMs())) return undefined;
      return [{}, what, because, { isRepeated: true }];
    });
  }

  async #swap(
    name: string,
    change: (
      record: VmRecord,
    ) => readonly [Partial<VmRecord>, string, string, DecisionOptions?] | undefined,
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
    { also = [], isRepeated = false }: DecisionOptions = {},
  ): Promise<boolean> {
    const { directory, clusterId, hostId, clock } = this.#world;
    const decision = { timeMs: Math.round(clock.wallMs()), hostId, what, because };
    const write = isRepeated ? decidedAgain : decided;
    const next = write({ ...stored.record, ...change }, decision);
    const isCompared = this.#world.rules?.isComparedFirst !== false;
    const known = isCompared ? stored : await findVm(directory, clusterId, stored.record.name);
    return await swapVm(directory, clusterId, known, next, also);
  }

  #tell({ name }: VmRecord, host: string, what: string): void {
    const message = `virtual machine ${name} ${what}`;
    const details = { vm: name, host };
    this.#world.addEvent({ kind: "vm-moved", level: "warning", message, details });
  }
}
