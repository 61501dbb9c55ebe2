/**
 * The volumes that this host offers: for each an owner of its object, an NBD listener of its own,
 * and a vhost-user socket where one is wanted. The directory's record comes before the listener is
 * announced and goes after it has closed, so that what a client was told survives a restart.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { BlockCipher } from "../../ports/index.ts";
import type { KeyKeeper } from "../keys/key-keeper.ts";
import { LATENCY_BOUNDS_MS, CodedError, errorText } from "../../base/index.ts";
import { findObject } from "../../cluster/index.ts";
import type { ObjectRecord } from "../../cluster/index.ts";
import { ReadMemoryPool, ScratchMemory } from "../../frontend/index.ts";
import type { NbdServer, VhostUserServer } from "../../frontend/index.ts";
import type { ObjectOwner, VolumeIo } from "../../object/index.ts";
import type { ClusterHosts, HostPlane } from "../../plane/index.ts";
import {
  attached,
  createAttachment,
  findAttachment,
  isAt,
  isSameAttachment,
  listAttachments,
  notAttached,
  removeAttachment,
  requestOf,
  withVolume,
} from "./attachment-records.ts";
import type { AttachmentRecord } from "./attachment-records.ts";
import { MeteredVolume } from "./metered-volume.ts";
import { formatAddress, nbdUri, parseAddress } from "../names.ts";
import { isUnderTls, NbdOffers } from "./nbd-offers.ts";
import { OfferedVolume } from "./offered-volume.ts";
import type { NextHost, OfferedVolumeEvents, OfferedVolumeWorld } from "./offered-volume.ts";
import type { PlaneWorld } from "../data/plane-world.ts";
import { VhostOffers, vhostOf, vhostView } from "./vhost-attachments.ts";
import type { AttachmentView, VolumeAttachRequest, VolumeIoView } from "../api/views.ts";

/** How long clients may take to get their answers when a volume is detached or the host stops. */
const CLOSE_MS_MAX = 5000;

interface Offered {
  /** The address gets the port that was chosen. */
  record: AttachmentRecord;
  readonly volume: OfferedVolume;
  readonly meter: MeteredVolume;
  readonly server: NbdServer;
  readonly vhost: VhostUserServer | undefined;
}

export class Attachments {
  readonly #world: PlaneWorld;
  readonly #plane: HostPlane;
  readonly #vhostOffers: VhostOffers;
  readonly #nbdOffers: NbdOffers;
  readonly #offered = new Map<string, Offered>();
  /** For machines that are on their way here; the volumes are elsewhere, with them. */
  readonly #expected = new Map<string, Offered>();
  /** Volumes that should be offered and could not be, with the reason. */
  readonly #failed = new Map<
    string,
    { readonly record: AttachmentRecord; readonly reason: string }
  >();

  readonly #keeper: KeyKeeper;
  readonly #memory: ScratchMemory;

  constructor(world: PlaneWorld, plane: HostPlane, keeper: KeyKeeper) {
    this.#keeper = keeper;
    this.#memory = new ScratchMemory((lengthBytes) => plane.ownerWorld().allocate(lengthBytes));
    this.#world = world;
    this.#plane = plane;
    const memory = new ReadMemoryPool();
    this.#vhostOffers = new VhostOffers(world, memory);
    this.#nbdOffers = new NbdOffers(world, memory, () => this.#servers());
  }

  /** The record of an attachment, whichever host has it. */
  async find(objectId: string): Promise<AttachmentRecord | undefined> {
    const { directory, identity } = this.#world;
    return (await findAttachment(directory, identity.clusterId, objectId))?.record;
  }

  /** An attachment of this host as it is, one of another host as its record says. */
  async viewAnywhere(objectId: string, hosts: ClusterHosts): Promise<AttachmentView | undefined> {
    const own = this.view(objectId);
    if (own !== undefined) return own;
    const record = await this.find(objectId);
    if (record === undefined) return undefined;
    const { hostId } = record;
    const downReason = await this.#downReason(hostId, hosts);
    return downReason === undefined
      ? viewOf(record, hosts.nameOf(hostId))
      : failedView(record, hosts.nameOf(hostId), downReason);
  }

  /** Why another host does not serve what is attached there, as far as can be seen from here. */
  async #downReason(hostId: string, hosts: ClusterHosts): Promise<string | undefined> {
    if (hostId === this.#world.identity.hostId) return undefined;
    // It may serve its clients while the storage network is cut between it and this host.
    if (await hosts.isAlive(hostId)) return undefined;
    return hosts.isReachable(hostId)
      ? "its host has no lease in the directory"
      : "its host is down";
  }

  /** By object: what clients ask of it. */
  io(): [string, VolumeIoView][] {
    return [...this.#offered].map(([objectId, { meter }]) => [objectId, meter.view()]);
  }

  /** Of the requests to all volumes that are attached here. */
  latencies(): { readonly boundsMs: readonly number[]; readonly buckets: readonly number[] } {
    const buckets = Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, () => 0);
    for (const [, { reads, writes }] of this.io())
      for (const counts of [reads.buckets, writes.buckets])
        for (const [i, count] of counts.entries()) buckets[i]! += count;
    return { boundsMs: LATENCY_BOUNDS_MS, buckets };
  }

  owners(): readonly ObjectOwner[] {
    return [...this.#offered.values()].flatMap(({ volume }) => volume.owner ?? []);
  }

  *#servers(): Iterable<NbdServer> {
    for (const { server } of this.#offered.values()) yield server;
    for (const { server } of this.#expected.values()) yield server;
  }

  /** Fails with `volume-attached`, those of `ObjectOwner.take` and of `Network.listen`. */
  async attach(volume: ObjectRecord, request: VolumeAttachRequest): Promise<AttachmentView> {
    await this.#dropStopped(volume.objectId);
    const current = this.view(volume.objectId);
    if (current !== undefined) throw attached(volume.name, current.address);
    await this.#dropDead(volume);
    const expected = this.#expected.get(volume.objectId);
    if (expected !== undefined) {
      if (!isFor(expected, request)) throw attached(volume.name, expected.record.nbd);
      return await this.#arrive(expected);
    }
    const wanted = this.#newRecord(volume, request);
    const taken = await OfferedVolume.take(
      this.#volumeWorld(volume),
      wanted,
      this.#eventsOf(wanted),
    );
    const offered = await this.#offer(taken);
    try {
      return await this.#record(offered);
    } catch (error) {
      await withdraw(offered);
      throw error;
    }
  }

  /** Makes the record of what is offered. */
  async #record(offered: Offered): Promise<AttachmentView> {
    // With the port that was chosen where the request left that open.
    const record = { ...offered.record, nbd: formatAddress(offered.server.address) };
    offered.record = record;
    await createAttachment(this.#world.directory, this.#world.identity.clusterId, record);
    this.#offered.set(record.objectId, offered);
    const message = `volume ${record.volume} is attached at ${record.nbd}`;
    this.#event("info", "volume-attached", message, record);
    return viewOf(record, this.#world.identity.hostName, offered);
  }

  /**
   * Offers a volume to a machine that is on its way here: whoever has it keeps it, and what the
   * machine asks for waits until `attach`. Doing it twice is fine. Fails as `Network.listen`.
   */
  async expect(volume: ObjectRecord, request: VolumeAttachRequest): Promise<void> {
    const { objectId } = volume;
    const expected = this.#expected.get(objectId);
    if (expected !== undefined && isFor(expected, request)) return;
    const current = expected?.record.nbd ?? this.view(objectId)?.address;
    if (current !== undefined) throw attached(volume.name, current);
    const wanted = this.#newRecord(volume, request);
    const events = this.#eventsOf(wanted);
    const world = this.#volumeWorld(volume);
    const waiting = OfferedVolume.expect(world, wanted, volume.sizeBytes, events);
    this.#expected.set(objectId, await this.#offer(waiting));
  }

  /** Does nothing if it is not expected at one of the sockets. */
  async expectNoMore(objectId: string, sockets: readonly string[]): Promise<void> {
    const expected = this.#expected.get(objectId);
    if (expected === undefined || !isAt(expected.record, sockets)) return;
    this.#expected.delete(objectId);
    await withdraw(expected);
  }

  async #arrive(expected: Offered): Promise<AttachmentView> {
    await expected.volume.arrive();
    this.#expected.delete(expected.record.objectId);
    try {
      return await this.#record(expected);
    } catch (error) {
      await withdraw(expected);
      throw error;
    }
  }

  #newRecord(volume: ObjectRecord, request: VolumeAttachRequest): AttachmentRecord {
    const address = parseAddress(request.nbd ?? this.#defaultSocket(volume.name));
    const vhostUser = vhostOf(request);
    return {
      objectId: volume.objectId,
      volume: volume.name,
      hostId: this.#world.identity.hostId,
      nbd: formatAddress(address),
      tls: isUnderTls(request, address),
      readOnly: request.readOnly === true || volume.snapshot !== undefined,
      attachmentId: this.#world.newId(),
      isHolding: false,
      ...(vhostUser === undefined ? {} : { vhostUser }),
    };
  }

  /** One that cannot be served any more, or could not be offered again, makes way for a new one. */
  async #dropStopped(objectId: string): Promise<void> {
    const offered = this.#offered.get(objectId);
    const failed = this.#failed.get(objectId);
    const record = offered?.record ?? failed?.record;
    if (record === undefined) return;
    if (offered !== undefined && (offered.volume.reason === undefined || offered.volume.isHolding))
      return;
    if (offered !== undefined) await withdraw(offered);
    await this.#removeOwn(record);
    this.#offered.delete(objectId);
    this.#failed.delete(objectId);
  }

  /** The record goes, unless it is another attachment's by now. */
  async #removeOwn(record: AttachmentRecord): Promise<void> {
    const { directory, identity } = this.#world;
    for (;;) {
      const stored = await findAttachment(directory, identity.clusterId, record.objectId);
      if (stored === undefined || !isSameAttachment(stored.record, record)) return;
      if (await removeAttachment(directory, identity.clusterId, stored)) return;
    }
  }

  /**
   * An attachment whose host is gone, or cannot serve the volume, or gives it to this one, is moved
   * here: first its record goes, then the object is taken. Fails with `volume-attached`.
   */
  async #dropDead(volume: ObjectRecord): Promise<void> {
    const { directory, identity } = this.#world;
    const stored = await findAttachment(directory, identity.clusterId, volume.objectId);
    if (stored === undefined || stored.record.hostId === identity.hostId) return;
    const { hostId, nbd, isHolding, givenTo } = stored.record;
    const isFree = isHolding || givenTo === identity.hostId;
    const isServed = !isFree && (await this.#plane.hosts.isAlive(hostId));
    if (isServed || !(await removeAttachment(directory, identity.clusterId, stored)))
      throw attached(volume.name, `${nbd} on ${this.#plane.hosts.nameOf(hostId)}`);
  }

  /** Only if it is offered at one of the sockets, if given. Fails with `volume-not-attached`. */
  async detach(volume: ObjectRecord, sockets?: readonly string[]): Promise<void> {
    const { objectId } = volume;
    const offered = this.#offered.get(objectId);
    const record = offered?.record ?? this.#failed.get(objectId)?.record;
    if (record === undefined || (sockets !== undefined && !isAt(record, sockets)))
      throw notAttached(volume.name);
    if (offered !== undefined) await withdraw(offered);
    await this.#removeOwn(record);
    this.#offered.delete(objectId);
    this.#failed.delete(objectId);
    this.#event("info", "volume-detached", `volume ${volume.name} is detached`, record);
  }

  /**
   * Requests wait while `take` has another host take the attachment over; then clients here are cut
   * off without an answer to them. Fails as `take`, and the volume is offered here as before then.
   */
  async handOver<T>(volume: ObjectRecord, to: NextHost, take: () => Promise<T>): Promise<T> {
    const offered = this.#offered.get(volume.objectId);
    if (offered === undefined) throw notAttached(volume.name);
    try {
      return await offered.volume.handOver(to, take);
    } catch (error) {
      await this.#offerAgain(volume, offered);
      throw error;
    }
  }

  /** Where the other host has removed the record, and then could not offer the volume. */
  async #offerAgain(volume: ObjectRecord, { record }: Offered): Promise<void> {
    try {
      if ((await this.find(volume.objectId)) !== undefined) return;
      const offered = this.#offered.get(volume.objectId);
      this.#offered.delete(volume.objectId);
      if (offered !== undefined) await withdraw(offered);
      await this.attach(volume, requestOf(record));
    } catch (error) {
      const message = `volume ${record.volume} cannot be offered again: ${errorText(error)}`;
      this.#event("error", "attach-failed", message, record);
    }
  }

  /**
   * Offers again what was attached when the host ended. What cannot be is kept, with the reason.
   */
  async restore(): Promise<{ attachedCount: number; failedCount: number }> {
    const { directory, identity } = this.#world;
    const records = await listAttachments(directory, identity.clusterId);
    for (const record of records.filter(({ hostId }) => hostId === identity.hostId)) {
      try {
        this.#offered.set(record.objectId, await this.#offer(await this.#resume(record)));
      } catch (error) {
        // Another host has taken the attachment over meanwhile.
        if (error instanceof CodedError && error.code === "volume-not-attached") continue;
        const reason = errorText(error);
        this.#failed.set(record.objectId, { record, reason });
        const message = `volume ${record.volume} cannot be offered again: ${reason}`;
        this.#event("error", "attach-failed", message, record);
      }
    }
    return { attachedCount: this.#offered.size, failedCount: this.#failed.size };
  }

  view(objectId: string): AttachmentView | undefined {
    const { hostName } = this.#world.identity;
    const offered = this.#offered.get(objectId);
    if (offered !== undefined) return viewOf(offered.record, hostName, offered);
    const failed = this.#failed.get(objectId);
    return failed === undefined ? undefined : failedView(failed.record, hostName, failed.reason);
  }

  /** The name of an object that is offered here. */
  volumeName(objectId: string): string | undefined {
    return this.#offered.get(objectId)?.record.volume;
  }

  get sharedMemory(): Readonly<Record<string, number>> {
    return this.#vhostOffers.counters;
  }

  /** The machines that use the volume are told that it has grown. */
  resized(objectId: string): void {
    this.#offered.get(objectId)?.vhost?.resized();
  }

  owner(objectId: string): ObjectOwner | undefined {
    return this.#offered.get(objectId)?.volume.owner;
  }

  /** Answers what is in flight and closes; the records stay for the next start. */
  async close(): Promise<void> {
    const all = [...this.#offered.values(), ...this.#expected.values()];
    this.#offered.clear();
    this.#expected.clear();
    this.#nbdOffers.close();
    const closing = await Promise.allSettled(all.map(withdraw));
    this.#vhostOffers.close();
    for (const [index, outcome] of closing.entries()) {
      if (outcome.status === "fulfilled") continue;
      const volume = all[index]!.record.volume;
      this.#world.log.write("error", "a volume was not closed cleanly", {
        volume,
        error: errorText(outcome.reason),
      });
    }
  }

  #volumeWorld(volume: Pick<ObjectRecord, "encryption"> | undefined): OfferedVolumeWorld {
    const { directory, clock, log, identity } = this.#world;
    const { clusterId, holdMs } = identity;
    const openCipher = async (): Promise<BlockCipher | undefined> =>
      volume?.encryption && (await this.#keeper.cipherOf(volume.encryption));
    const shared = { directory, clock, log, clusterId, plane: this.#plane };
    return { ...shared, holdMs, openCipher, memory: this.#memory };
  }

  async #resume(record: AttachmentRecord): Promise<OfferedVolume> {
    const { directory, identity } = this.#world;
    const stored = await findObject(directory, identity.clusterId, record.objectId);
    const size = stored?.record.sizeBytes ?? 0;
    const world = this.#volumeWorld(stored?.record);
    return await OfferedVolume.resume(world, record, size, this.#eventsOf(record));
  }

  #eventsOf(record: AttachmentRecord): OfferedVolumeEvents {
    const { volume, objectId } = record;
    const isHeld = this.#world.identity.holdMs !== undefined;
    return {
      stopped: (reason) => {
        const message = isHeld
          ? `requests of volume ${volume} are held: ${reason}`
          : `volume ${volume} is not served here any more: ${reason}`;
        this.#event(
          isHeld ? "warning" : "error",
          isHeld ? "volume-held" : "volume-stopped",
          message,
          record,
        );
      },
      resumed: () => {
        if (this.#offered.has(objectId))
          this.#event("info", "volume-resumed", `volume ${volume} is served again`, record);
      },
      moved: () => {
        const offered = this.#offered.get(objectId);
        if (offered === undefined || !isSameAttachment(offered.record, record)) return;
        this.#offered.delete(objectId);
        const message = `volume ${volume} is attached elsewhere; its clients here are cut off`;
        this.#event("warning", "volume-moved", message, record);
        withdraw(offered).catch((error: unknown) => {
          this.#world.log.write("error", `a volume was not closed cleanly: ${errorText(error)}`, {
            volume,
          });
        });
      },
    };
  }

  async #offer(volume: OfferedVolume): Promise<Offered> {
    const { record } = volume;
    try {
      const meter = new MeteredVolume(volume.io, this.#world.clock);
      const server = await this.#nbdOffers.listen(record, meter);
      const vhost = await this.#offerVhost(record, meter, server);
      return { record, volume, meter, server, vhost };
    } catch (error) {
      await volume.close();
      throw withVolume(error, record);
    }
  }

  async #offerVhost(
    { vhostUser }: AttachmentRecord,
    volume: VolumeIo,
    server: NbdServer,
  ): Promise<VhostUserServer | undefined> {
    if (vhostUser === undefined) return undefined;
    try {
      return await this.#vhostOffers.offer(vhostUser, volume);
    } catch (error) {
      await server.close(0);
      throw error;
    }
  }

  #defaultSocket(volume: string): string {
    const { socketsPath } = this.#world.identity;
    mkdirSync(socketsPath, { recursive: true, mode: 0o700 });
    return join(socketsPath, `${volume}.sock`);
  }

  #event(
    level: "info" | "warning" | "error",
    kind: string,
    message: string,
    record: AttachmentRecord,
  ): void {
    const details = { volume: record.volume, address: record.nbd };
    this.#world.addEvent({ level, kind, message, details });
  }
}

async function withdraw({ volume, server, vhost }: Offered): Promise<void> {
  // Nobody will answer what waits.
  const leaving = volume.isHolding ? volume.close() : undefined;
  const limitMs = volume.isHolding ? 0 : CLOSE_MS_MAX;
  await Promise.all([server.close(limitMs), vhost?.close(limitMs), leaving]);
  await volume.close();
}

function viewOf(record: AttachmentRecord, host: string, offered?: Offered): AttachmentView {
  const reason = offered?.volume.reason;
  const isHolding = offered?.volume.isHolding ?? record.isHolding;
  const { vhostUser } = record;
  return {
    volume: record.volume,
    host,
    kind: "nbd",
    address: record.nbd,
    uri: nbdUri(parseAddress(record.nbd), record.volume, record.tls),
    tls: record.tls,
    readOnly: record.readOnly,
    ...(vhostUser === undefined
      ? {}
      : { vhostUser: vhostView(record.volume, vhostUser, offered?.vhost) }),
    state: isHolding ? "holding" : reason === undefined ? "online" : "failed",
    ...(reason === undefined ? {} : { reason }),
  };
}

function failedView(record: AttachmentRecord, host: string, reason: string): AttachmentView {
  return { ...viewOf(record, host), state: "failed", reason };
}

/** Whether it waits for the machine that the volume is asked for now. */
function isFor({ record }: Offered, { vhostUser }: VolumeAttachRequest): boolean {
  return record.vhostUser?.path === vhostUser;
}
