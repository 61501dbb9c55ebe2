/**
 * Ownership of one object: taken by compare-and-swap on its record, held at one epoch, given up or
 * lost. While it lasts, `volume` is the only way to the object's data. Whoever writes at a lower
 * epoch is refused by the components, so an owner that does not know yet that it was replaced can
 * do no harm.
 */
import { assert, BLOCK_SIZE_BYTES, CodedError, errorText } from "../base/index.ts";
import { checkVolumeGrowth, directoryKeys, findObject, parseStored } from "../cluster/index.ts";
import { swapObject } from "../cluster/index.ts";
import type { ComponentState, ObjectRecord } from "../cluster/index.ts";
import type { StoredObject, TreeNode } from "../cluster/index.ts";
import type { DirectoryWatch, DirectoryWrite } from "../ports/index.ts";
import { ObjectChangesReader } from "./object-changes.ts";
import type { ObjectChanges } from "./object-changes.ts";
import { ObjectLayout, sizesOf } from "./object-layout.ts";
import { CopyCompare } from "./copy-compare.ts";
import type { CopyComparison } from "./copy-compare.ts";
import { contended, release, releaseAfterFailure, swapOwner } from "./object-ownership.ts";
import { SWAP_ATTEMPTS_MAX } from "./object-ownership.ts";
import { openComponents, replaced } from "./object-opening.ts";
import type { OpenedObject } from "./object-opening.ts";
import { ObjectMembers } from "./object-members.ts";
import type { RecordChange } from "./object-members.ts";
import { atOneMoment } from "./object-moment.ts";
import type { ObjectMoment } from "./object-moment.ts";
import { ObjectVolume } from "./object-volume.ts";
import { ALL_RULES } from "./owner-world.ts";
import type { OwnedObject, OwnerWorld } from "./owner-world.ts";
import type { ResyncState } from "./resync-progress.ts";
import { settleTail } from "./tail-settling.ts";
import { TRANSACTIONS_MAX } from "./transaction-sender.ts";
import type { VolumeIo } from "./volume-io.ts";

const DIRECTORY_RETRY_MS = 200;

/** For `volume show`. */
export interface OwnerState {
  readonly objectId: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly epoch: number;
  readonly owner: string;
  readonly accessible: boolean;
  /** Why it is not accessible any more. */
  readonly reason: string | undefined;
  readonly tree: TreeNode;
  readonly components: readonly ComponentOwnerState[];
}

export interface ComponentOwnerState {
  readonly componentId: string;
  readonly hostId: string;
  readonly deviceId: string;
  readonly state: ComponentState;
  /** The last sequence that is decided, as far as the component is known to have it. */
  readonly sequence: number;
  /** It is stale, and being brought to the present. */
  readonly isCatchingUp: boolean;
  /** While it is being brought to the present. */
  readonly resync?: ResyncState;
  /** It is given up, and why nothing is made in its place yet. */
  readonly blockedReason?: string;
  /** Between two attempts to bring it to the present: what became of those before. */
  readonly failedAttempt?: string;
}

export class ObjectOwner implements OwnedObject {
  readonly #world: OwnerWorld;
  readonly #epoch: number;
  readonly #volume: ObjectVolume;
  readonly #members: ObjectMembers;
  readonly #legs: OpenedObject["legs"];
  readonly #stoppedCallbacks: ((reason: string) => void)[] = [];
  #stored: StoredObject;
  #watch: DirectoryWatch | undefined = undefined;
  #reason: string | undefined = undefined;
  #isClosed = false;
  #swapTurn: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined = undefined;
  /** Tells that the object is owned here no longer. */
  #over: (() => void) | undefined = undefined;

  private constructor(
    world: OwnerWorld,
    stored: StoredObject,
    opened: OpenedObject,
    readOnly: boolean,
  ) {
    const { record } = stored;
    this.#world = world;
    this.#stored = stored;
    this.#epoch = record.epoch;
    this.#legs = opened.legs;
    this.#volume = new ObjectVolume({
      name: record.name,
      sizeBytes: record.sizeBytes,
      readOnly,
      epoch: record.epoch,
      // Above all numbers that a component out of reach may have prepared: none is used twice.
      lastSequence: opened.tail.prepared + TRANSACTIONS_MAX,
      legs: opened.legs,
      allocate: world.allocate,
      ...(world.scratch === undefined ? {} : { scratch: world.scratch }),
      nowMs: () => world.clock.nowMs(),
      isLeaseAlive: world.isLeaseAlive,
      onStopped: (_fault, reason) => this.#stopped(reason),
      onMemberFailed: (member, fault) => this.#members.failed(member, fault),
      onDamage: (firstBlock, endBlock) => this.#members.repair(firstBlock, endBlock),
    });
    this.#members = new ObjectMembers(world, opened.legs, this.#volume, {
      record: () => this.#stored.record,
      swap: (change, also) => this.#swap(change, also),
      stop: (reason) => this.#stop(reason),
    });
  }

  /**
   * Fails with `volume-not-found`, `volume-in-use` (a host that may be alive owns it),
   * `object-inaccessible` (no quorum, or no complete copy) or `not-owner` (replaced meanwhile).
   */
  static async take(world: OwnerWorld, objectId: string, readOnly: boolean): Promise<ObjectOwner> {
    const ended = world.onTaking?.(objectId);
    try {
      return await ObjectOwner.#take(world, objectId, readOnly);
    } finally {
      ended?.();
    }
  }

  static async #take(world: OwnerWorld, objectId: string, readOnly: boolean): Promise<ObjectOwner> {
    let stored = await swapOwner(world, objectId);
    const { record } = stored;
    try {
      const layout = new ObjectLayout(record.tree);
      const opened = await openComponents(record, layout, world);
      checkSizes(record, layout, opened);
      if (opened.silent.length > 0) stored = await markStale(world, stored, opened);
      await settle(world, record.epoch, opened);
      const owner = new ObjectOwner(world, stored, opened, readOnly);
      owner.#follow(owner.#stored.revision + 1);
      owner.#members.start();
      owner.#begin();
      world.log.write("info", "ownership taken", { objectId, epoch: record.epoch });
      return owner;
    } catch (error) {
      await releaseAfterFailure(world, stored);
      throw error;
    }
  }

  get volume(): VolumeIo {
    return this.#volume;
  }

  get epoch(): number {
    return this.#epoch;
  }

  get record(): ObjectRecord {
    return this.#stored.record;
  }

  get state(): OwnerState {
    const { record } = this.#stored;
    return {
      objectId: record.objectId,
      name: record.name,
      sizeBytes: record.sizeBytes,
      epoch: this.#epoch,
      owner: this.#world.hostId,
      accessible: this.#reason === undefined && !this.#isClosed,
      reason: this.#reason,
      tree: record.tree,
      components: record.components.map((entry) => ({
        ...entry,
        sequence: sequenceOf(entry.state, this.#volume.watermark),
        isCatchingUp: this.#members.isCatchingUp(entry.componentId),
        ...optional(this.#members, entry.componentId),
      })),
    };
  }

  /**
   * Grows the volume while it is in use: first its components, then its record, then what clients
   * see. Fails with `volume-size-invalid`, `volume-shrink-unsupported`, `not-owner`, or as
   * `growComponent` does.
   */
  async resize(sizeBytes: number): Promise<void> {
    const { record } = this.#stored;
    checkVolumeGrowth(record, sizeBytes);
    for (const [{ componentId, hostId }, blockCount] of sizesOf(record, sizeBytes))
      await this.#world.growComponent(componentId, blockCount, hostId);
    await this.#swap((now) => ({ ...now, sizeBytes: Math.max(sizeBytes, now.sizeBytes) }));
    this.#volume.grow(this.#stored.record.sizeBytes);
    const { objectId } = record;
    this.#world.log.write("info", "volume resized", { objectId, sizeBytes });
  }

  /** Holds changes back while `work` makes something of the components as they are. */
  async atOneMoment<T>(
    work: (record: ObjectRecord, moment: ObjectMoment) => Promise<T>,
  ): Promise<T> {
    const { holdsForSnapshots } = this.#world.rules ?? ALL_RULES;
    return await atOneMoment(this.#legs, this.#volume, holdsForSnapshots, (moment) =>
      work(this.#stored.record, moment),
    );
  }

  /** What has changed since a sequence, from a block on. */
  async changes(since: number, fromBlock: number): Promise<ObjectChanges> {
    return await new ObjectChangesReader(this.#legs, this.#volume).since(since, fromBlock);
  }

  /** Of all that it holds: as that of any other object that holds the same. */
  async digest(): Promise<string> {
    return await new ObjectChangesReader(this.#legs, this.#volume).digest(this.#world.clock);
  }

  get objectId(): string {
    return this.#stored.record.objectId;
  }

  get isOver(): boolean {
    return this.#isClosed || this.#reason !== undefined;
  }

  /** From now on others may find it. */
  #begin(): void {
    this.#over = this.#world.onTaken?.(this);
    // The first look at the directory may have ended it.
    if (this.#reason !== undefined) this.#over?.();
  }

  /** Compares the copies with each other, and makes those that differ equal. */
  async compareCopies(): Promise<CopyComparison> {
    const { clock, transferMemory: memory } = this.#world;
    return await new CopyCompare({ legs: this.#legs, volume: this.#volume, clock, memory }).run();
  }

  /** A block of a component is damaged: it is written again as the other copies have it. */
  async repairComponent(componentId: string, blockIndex: number): Promise<boolean> {
    for (const leg of this.#legs.legs.slice(0, this.#legs.copyCount)) {
      const column = leg.members.findIndex((member) => member.componentId === componentId);
      if (column < 0) continue;
      const block = leg.layout.objectBlockOf(column, blockIndex);
      const isElsewhere = this.#legs.legs.some(
        (other) => other !== leg && other.memberAt(block).role === "active",
      );
      if (isElsewhere) await this.#volume.rewrite(block);
      return isElsewhere;
    }
    return false;
  }

  /** Called once if ownership is lost, or the volume had to stop; at once if that has happened. */
  onStopped(callback: (reason: string) => void): void {
    if (this.#reason === undefined) this.#stoppedCallbacks.push(callback);
    else callback(this.#reason);
  }

  /** Answers what is in flight, gives up ownership, and resolves. Everything later is refused. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#volume.close();
    this.#isClosed = true;
    this.#over?.();
    await this.#members.close();
    this.#watch?.cancel();
    const { objectId } = this.#stored.record;
    const isReleased = await release(this.#world, this.#stored);
    const what = isReleased ? "ownership given up" : "ownership ended, another host has it";
    this.#world.log.write("info", what, { objectId, epoch: this.#epoch });
  }

  /** Learns from the directory when somebody else takes the object. */
  #follow(fromRevision: number): void {
    const { directory } = this.#world;
    const key = this.#key;
    this.#watch = directory.watch(
      key,
      fromRevision,
      (event) => {
        if (event.kind === "delete") {
          if (event.key === key) this.#lose("the volume was deleted");
        } else if (event.record.key === key) {
          this.#see(parseStored(event.record));
        }
      },
      () => this.#refollow(),
    );
  }

  get #key(): string {
    return directoryKeys.object(this.#world.clusterId, this.#stored.record.objectId);
  }

  #refollow(): void {
    this.#followAgain().catch((error: unknown) => {
      const isAway = error instanceof CodedError && error.code === "directory-unavailable";
      // What is owned goes on for as long as the lease lives.
      if (isAway) this.#world.clock.after(DIRECTORY_RETRY_MS, () => this.#refollow());
      else this.#lose(errorText(error));
    });
  }

  /**
   * From where the whole directory is, not from where the record was written: that may lie before
   * all that the directory can still tell, and be lost again at once.
   */
  async #followAgain(): Promise<void> {
    if (this.#isClosed) return;
    const key = this.#key;
    const { records, revision } = await this.#world.directory.list(key);
    if (this.#isClosed) return;
    const record = records.find((one) => one.key === key);
    if (record === undefined) this.#lose("the volume was deleted");
    else if (this.#see(parseStored(record))) this.#follow(revision + 1);
  }

  /** False if the record says that the object is not ours any more. */
  #see(stored: StoredObject): boolean {
    const { record } = stored;
    if (record.epoch !== this.#epoch || record.owner !== this.#world.hostId) {
      if (!this.#isClosed) this.#lose("another host has taken the object over");
      return false;
    }
    if (stored.revision > this.#stored.revision) this.#stored = stored;
    return true;
  }

  #lose(reason: string): void {
    this.#volume.stop("not-owner");
    this.#stopped(reason);
  }

  /** The object cannot be served from here any more, although nobody else has it. */
  #stop(reason: string): void {
    this.#volume.stop("unreachable");
    this.#stopped(reason);
  }

  #stopped(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#over?.();
    this.#watch?.cancel();
    this.#members.stop();
    const { objectId, name } = this.#stored.record;
    this.#world.log.write("warning", `${name} has stopped: ${reason}`, {
      objectId,
      epoch: this.#epoch,
    });
    for (const callback of this.#stoppedCallbacks.splice(0)) callback(reason);
  }

  /** One after the other: each begins with what the one before has left. */
  #swap(change: RecordChange, also: readonly DirectoryWrite[] = []): Promise<void> {
    const turn = this.#swapTurn.then(() => this.#swapNow(change, also));
    this.#swapTurn = turn.then(
      () => {},
      () => {},
    );
    return turn;
  }

  async #swapNow(change: RecordChange, also: readonly DirectoryWrite[]): Promise<void> {
    const { directory, clusterId } = this.#world;
    for (let attempt = 0; attempt < SWAP_ATTEMPTS_MAX;) {
      const stored = this.#stored;
      try {
        const next = await swapObject(directory, clusterId, stored, change(stored.record), also);
        if (next !== undefined) {
          // The answer may come after news of what somebody else has changed since.
          if (next.revision > this.#stored.revision) this.#stored = next;
          return;
        }
        const found = await findObject(directory, clusterId, stored.record.objectId);
        if (found === undefined || !this.#see(found)) throw replaced(stored.record);
        attempt++;
      } catch (error) {
        // Nobody can have taken the object over while the lease lives. Whether the swap happened
        // is found out by the next attempt: the change is made of the record as it is then.
        if (!isUnavailable(error) || !this.#world.isLeaseAlive() || this.#isClosed) throw error;
        await new Promise<void>((resolve) => {
          this.#world.clock.after(DIRECTORY_RETRY_MS, resolve);
        });
      }
    }
    throw contended(this.#stored.record);
  }
}

/** What is served without a component must be known to be so before the first write. */
async function markStale(
  world: OwnerWorld,
  stored: StoredObject,
  opened: OpenedObject,
): Promise<StoredObject> {
  const silent = new Set(opened.silent.map((entry) => entry.componentId));
  const next: ObjectRecord = {
    ...stored.record,
    components: stored.record.components.map((entry) =>
      silent.has(entry.componentId)
        ? { ...entry, state: { kind: "stale", since: opened.committed } }
        : entry,
    ),
  };
  const swapped = await swapObject(world.directory, world.clusterId, stored, next);
  if (swapped === undefined) throw replaced(stored.record);
  return swapped;
}

/** Afterwards all active components hold the same. */
async function settle(world: OwnerWorld, epoch: number, opened: OpenedObject): Promise<void> {
  const { legs, tail } = opened;
  if ((world.rules ?? ALL_RULES).settlesTail) {
    const copied = await settleTail(legs, epoch, tail, world.transferMemory);
    if (copied > 0) world.log.write("info", "a tail was settled", { epoch, blocks: copied });
  }
  legs.commit(epoch, tail.prepared);
  legs.submit();
}

function checkSizes(record: ObjectRecord, layout: ObjectLayout, opened: OpenedObject): void {
  const sizes = layout.componentSizes(Math.ceil(record.sizeBytes / BLOCK_SIZE_BYTES));
  for (const { component, role } of opened.legs.members) {
    if (component === undefined || role === "absent") continue;
    const wanted = sizes.get(component.componentId);
    assert(wanted !== undefined, "a component of the record has a place in the layout");
    if (component.blockCount >= wanted) continue;
    throw new CodedError({
      code: "component-too-small",
      message:
        `component ${component.componentId} of ${record.name} has ${component.blockCount} blocks ` +
        `and should have ${wanted}`,
      hint: "the device may have been restored from an old copy",
    });
  }
}

function optional(
  members: ObjectMembers,
  componentId: string,
): Pick<ComponentOwnerState, "blockedReason" | "failedAttempt" | "resync"> {
  const blockedReason = members.blockedReason(componentId);
  const failedAttempt = members.failedAttempt(componentId);
  const resync = members.resyncOf(componentId);
  return {
    ...(blockedReason === undefined ? {} : { blockedReason }),
    ...(failedAttempt === undefined ? {} : { failedAttempt }),
    ...(resync === undefined ? {} : { resync }),
  };
}

function sequenceOf(state: ComponentState, watermark: number): number {
  if (state.kind === "building" || state.kind === "joining") return 0;
  return state.kind === "stale" ? state.since : watermark;
}

function isUnavailable(error: unknown): boolean {
  const codes = ["directory-unavailable", "directory-outcome-unknown"];
  return error instanceof CodedError && codes.includes(error.code);
}
