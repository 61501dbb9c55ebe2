/**
 * What clients of an attached volume speak to. On a host that is alone that is the object's owner.
 * In a cluster a held volume stands between: when this host cannot serve the object any more,
 * because its lease ended, too few copies are in reach or somebody else took it, the requests wait,
 * and the host takes the object again as soon as it can.
 *
 * While they wait the attachment's record says so, and any other host may take the attachment over.
 * So requests are issued again only after the object was taken AND the record was found to be this
 * attachment's still: whoever takes the attachment over removes the record first and takes the
 * object then, so that nothing of what waits here can follow what is written there.
 */
import { assert, CodedError, errorText } from "../../base/index.ts";
import { EncryptedVolume, HeldVolume } from "../../frontend/index.ts";
import type { ScratchMemory } from "../../frontend/index.ts";
import { ObjectOwner } from "../../object/index.ts";
import type { VolumeIo } from "../../object/index.ts";
import type { HostPlane } from "../../plane/index.ts";
import type { BlockCipher, Clock, Directory, Log } from "../../ports/index.ts";
import { findAttachment, isSameAttachment, replaceAttachment } from "./attachment-records.ts";
import type { AttachmentRecord, StoredAttachment } from "./attachment-records.ts";

export interface OfferedVolumeWorld {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly log: Log;
  readonly clusterId: string;
  readonly plane: Pick<HostPlane, "isLeaseAlive" | "ownerWorld">;
  /** How long requests are held before they fail. Undefined: a host that is alone holds nothing. */
  readonly holdMs: number | undefined;
  /** What the volume is encrypted with; undefined if it is not. */
  readonly openCipher: () => Promise<BlockCipher | undefined>;
  /** For blocks that are being decrypted. */
  readonly memory: ScratchMemory;
}

export interface OfferedVolumeEvents {
  /** The volume is not served now; requests wait if they can. */
  stopped(reason: string): void;
  resumed(): void;
  /** The attachment is not this host's any more. Called once; it must be withdrawn. */
  moved(): void;
}

export interface NextHost {
  readonly hostId: string;
  /** For people. */
  readonly name: string;
}

/** What may be otherwise in a moment. */
const PASSING = new Set([
  "directory-outcome-unknown",
  "directory-unavailable",
  "not-owner",
  "object-contended",
  "object-inaccessible",
  "volume-in-use",
]);

export class OfferedVolume {
  readonly record: AttachmentRecord;
  /** Ends the wait of a volume that is expected. */
  #arrival:
    | { readonly resolve: (io: VolumeIo) => void; readonly reject: (why: Error) => void }
    | undefined;
  readonly #world: OfferedVolumeWorld;
  readonly #events: OfferedVolumeEvents;
  #owner: ObjectOwner | undefined;
  /** The owner's, as clients are to see it. */
  #source: VolumeIo | undefined;
  #held: HeldVolume | undefined;
  /** Why the volume is not served now. */
  #reason: string | undefined;
  #reopening: Promise<VolumeIo> | undefined;
  /** Of a move to another host: until it has ended nothing is taken again. */
  #handingOver: Promise<void> | undefined;
  #hasMoved = false;
  #isClosed = false;

  private constructor(
    world: OfferedVolumeWorld,
    record: AttachmentRecord,
    events: OfferedVolumeEvents,
  ) {
    this.#world = world;
    this.record = record;
    this.#events = events;
  }

  /**
   * For a new attachment, whose record is made afterwards. Fails as `ObjectOwner.take`, and as the
   * keys of an encrypted volume do.
   */
  static async take(
    world: OfferedVolumeWorld,
    record: AttachmentRecord,
    events: OfferedVolumeEvents,
  ): Promise<OfferedVolume> {
    const offered = new OfferedVolume(world, record, events);
    const source = await offered.#takeOwner();
    offered.#hold(source, source.sizeBytes);
    return offered;
  }

  /**
   * For an attachment that has a record. What passes does not keep it from being offered: requests
   * wait. Fails as `ObjectOwner.take`, with `volume-not-attached` if the record is gone.
   */
  static async resume(
    world: OfferedVolumeWorld,
    record: AttachmentRecord,
    sizeBytes: number,
    events: OfferedVolumeEvents,
  ): Promise<OfferedVolume> {
    const offered = new OfferedVolume(world, record, events);
    try {
      const volume = await offered.#reopen();
      offered.#hold(volume, volume.sizeBytes);
    } catch (error) {
      const isPassing = error instanceof CodedError && PASSING.has(error.code);
      if (!isPassing || world.holdMs === undefined) throw error;
      offered.#reason = error.message;
      offered.#hold(undefined, sizeBytes);
    }
    return offered;
  }

  /**
   * For a machine that is still elsewhere, with the volume: nothing is taken, and requests wait for
   * `arrive`. Its record is made afterwards. Fails with `vm-migration-failed` on a host that is
   * alone.
   */
  static expect(
    world: OfferedVolumeWorld,
    record: AttachmentRecord,
    sizeBytes: number,
    events: OfferedVolumeEvents,
  ): OfferedVolume {
    if (world.holdMs === undefined)
      throw new CodedError({ code: "vm-migration-failed", message: "this host is alone" });
    const offered = new OfferedVolume(world, record, events);
    offered.#reason = "its machine has not arrived";
    offered.#reopening = new Promise((resolve, reject) => {
      offered.#arrival = { resolve, reject };
    });
    // Whoever waits for it is told; there may be nobody.
    offered.#reopening.catch(() => undefined);
    offered.#hold(undefined, sizeBytes);
    return offered;
  }

  /** Takes the volume that was expected. Fails as `ObjectOwner.take`: then it goes on waiting. */
  async arrive(): Promise<void> {
    const source = await this.#takeOwner();
    this.#arrival?.resolve(source);
    this.#arrival = undefined;
  }

  /**
   * Gives the volume up in good order for that host, and has `take` see to it that this
   * one takes the attachment over: first its record, then the volume, as ever. Requests wait
   * meanwhile. Once it has ended the volume is taken here again, and is nobody else's to take any
   * more; or, if the record is another one's or gone, `moved` is told. Fails as `take` does.
   */
  async handOver<T>(to: NextHost, take: () => Promise<T>): Promise<T> {
    if (this.#held === undefined || this.#handingOver !== undefined || this.#isClosed)
      throw new CodedError({
        code: "volume-in-use",
        message: `volume ${this.record.volume} cannot be moved now: it is being moved or detached`,
      });
    const before = this.#reopening;
    let end = (): void => {};
    this.#handingOver = new Promise((resolve) => (end = resolve));
    try {
      // It may be just about to have the object again.
      await before?.catch(() => undefined);
      await this.#giveUp(`it moves to host ${to.name}`);
      await this.#mark(false, to.hostId);
      return await take();
    } finally {
      this.#handingOver = undefined;
      end();
    }
  }

  async #giveUp(reason: string): Promise<void> {
    const source = this.#source;
    if (source !== undefined && this.#owner !== undefined) {
      this.#reason = reason;
      this.#events.stopped(reason);
      this.#held?.sourceStopped(source, reason);
    }
    await this.#leaveOwner();
  }

  /** For the servers. */
  get io(): VolumeIo {
    const io = this.#held ?? this.#source;
    if (io !== undefined) return io;
    throw new Error("an offered volume has something to offer");
  }

  /** While the volume is served. */
  get owner(): ObjectOwner | undefined {
    return this.#owner;
  }

  /** Undefined while it is served. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** Whether requests wait instead of being refused. */
  get isHolding(): boolean {
    return this.#held !== undefined && this.#reason !== undefined;
  }

  /**
   * After the servers have taken leave of their clients; before, if requests wait that nobody will
   * answer. What waits ends without an answer, since nobody knows whether it was done.
   */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#arrival?.reject(leaving());
    await this.#held?.close("not-owner");
    // Its failure was told to whoever asked for it.
    await this.#reopening?.catch(() => undefined);
    await this.#owner?.close();
  }

  #hold(volume: VolumeIo | undefined, sizeBytes: number): void {
    const { clock, log, holdMs, plane } = this.#world;
    if (holdMs === undefined) return;
    this.#held = new HeldVolume(
      { clock, log },
      {
        name: this.record.volume,
        sizeBytes,
        readOnly: this.record.readOnly,
        allocate: plane.ownerWorld().allocate,
        volume,
        reopen: () => this.#nextSource(),
        deadlineMs: holdMs,
      },
    );
  }

  #nextSource(): Promise<VolumeIo> {
    if (this.#arrival === undefined) this.#reopening = this.#reopen();
    return this.#reopening ?? this.#reopen();
  }

  /** A host that cannot read the volume leaves it to whoever has it. */
  async #takeOwner(): Promise<VolumeIo> {
    const { objectId, readOnly } = this.record;
    const { openCipher, memory } = this.#world;
    const cipher = await openCipher();
    const owner = await ObjectOwner.take(this.#world.plane.ownerWorld(), objectId, readOnly);
    const { volume, record } = owner;
    const isEncrypted = record.encryption !== undefined;
    assert(isEncrypted === (cipher !== undefined), "a volume is served as its record says");
    const source = cipher === undefined ? volume : new EncryptedVolume(volume, cipher, memory);
    this.#owner = owner;
    this.#source = source;
    this.#reason = undefined;
    owner.onStopped((reason) => this.#stopped(owner, source, reason));
    return source;
  }

  #stopped(owner: ObjectOwner, source: VolumeIo, reason: string): void {
    if (owner !== this.#owner || this.#isClosed) return;
    this.#reason = reason;
    this.#events.stopped(reason);
    this.#held?.sourceStopped(source, reason);
  }

  async #reopen(): Promise<VolumeIo> {
    await this.#handingOver;
    await this.#leaveOwner();
    try {
      if (!this.#world.plane.isLeaseAlive()) throw leaseless();
      await this.#requireRecord();
      const source = await this.#takeOwner();
      // Only now: see above.
      await this.#mark(false);
      if (this.#isClosed) throw leaving();
      this.#events.resumed();
      return source;
    } catch (error) {
      await this.#leaveOwner();
      if (error instanceof CodedError) await this.#giveWay(error);
      throw error;
    }
  }

  /** Answers what the last owner has under way. */
  async #leaveOwner(): Promise<void> {
    const owner = this.#owner;
    this.#owner = undefined;
    if (owner === undefined) return;
    try {
      await owner.close();
    } catch (error) {
      // The next epoch is taken over this one all the same.
      if (!(error instanceof CodedError)) throw error;
      const { volume } = this.record;
      this.#world.log.write("warning", `ownership is not given up: ${error.message}`, { volume });
    }
  }

  /** Another host may have better luck. */
  async #giveWay(cause: CodedError): Promise<void> {
    this.#reason = cause.message;
    if (this.#hasMoved || this.#isClosed || this.#held === undefined) return;
    // There is nobody to tell.
    if (cause.code.startsWith("directory-")) return;
    try {
      await this.#mark(true);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      const { volume } = this.record;
      const what = `other hosts are not told that the volume is held: ${errorText(error)}`;
      this.#world.log.write("warning", what, { volume });
    }
  }

  /** The record as it is. Fails with `volume-not-attached` if it is not this attachment's. */
  async #requireRecord(): Promise<StoredAttachment> {
    const { directory, clusterId } = this.#world;
    const stored = await findAttachment(directory, clusterId, this.record.objectId);
    if (stored !== undefined && isSameAttachment(stored.record, this.record)) return stored;
    if (!this.#hasMoved && !this.#isClosed && this.#held !== undefined) {
      this.#hasMoved = true;
      this.#events.moved();
    }
    throw new CodedError({
      code: "volume-not-attached",
      message: `volume ${this.record.volume} is not attached here any more`,
      hint: "drystone volume list shows where it is",
    });
  }

  async #mark(isHolding: boolean, givenTo?: string): Promise<void> {
    const { directory, clusterId } = this.#world;
    for (;;) {
      const { record, revision } = await this.#requireRecord();
      if (record.isHolding === isHolding && record.givenTo === givenTo) return;
      const { givenTo: _before, ...rest } = record;
      const marked = { ...rest, isHolding, ...(givenTo === undefined ? {} : { givenTo }) };
      if (await replaceAttachment(directory, clusterId, { record: marked, revision })) return;
    }
  }
}

function leaseless(): CodedError {
  return new CodedError({
    code: "directory-unavailable",
    message: "this host has no lease in the directory",
    hint: "drystone status says what is wrong with the directory",
  });
}

function leaving(): CodedError {
  return new CodedError({ code: "stopping", message: "the volume is being detached" });
}
