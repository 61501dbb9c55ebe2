/**
 * The volumes that this host offers: for each an owner of its object, an NBD listener of its own,
 * and a vhost-user socket where one is wanted. The directory's record comes before the listener is
 * announced and goes after it has closed, so that what a client was told survives a restart.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { CodedError, errorText } from "../base/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import { NbdServer, SingleExport } from "../frontend/index.ts";
import type { VhostUserServer } from "../frontend/index.ts";
import { ObjectOwner } from "../object/index.ts";
import type { ClusterHosts, HostPlane } from "../plane/index.ts";
import {
  attached,
  createAttachment,
  deleteAttachment,
  listAttachments,
} from "./attachment-records.ts";
import type { AttachmentRecord } from "./attachment-records.ts";
import { formatAddress, nbdUri, parseAddress } from "./names.ts";
import type { PlaneWorld } from "./plane-world.ts";
import { VhostOffers, vhostOf, vhostView } from "./vhost-attachments.ts";
import type { AttachmentView, VolumeAttachRequest } from "./views.ts";

/** How long clients may take to get their answers when a volume is detached or the host stops. */
const CLOSE_MS_MAX = 5000;

interface Offered {
  /** The address gets the port that was chosen. */
  record: AttachmentRecord;
  readonly owner: ObjectOwner;
  readonly server: NbdServer;
  readonly vhost: VhostUserServer | undefined;
  stoppedReason: string | undefined;
}

export class Attachments {
  readonly #world: PlaneWorld;
  readonly #plane: HostPlane;
  readonly #vhostOffers: VhostOffers;
  readonly #offered = new Map<string, Offered>();
  /** Volumes that should be offered and could not be, with the reason. */
  readonly #failed = new Map<
    string,
    { readonly record: AttachmentRecord; readonly reason: string }
  >();

  constructor(world: PlaneWorld, plane: HostPlane) {
    this.#world = world;
    this.#plane = plane;
    this.#vhostOffers = new VhostOffers(world);
  }

  /** The record of an attachment, whichever host has it. */
  async find(objectId: string): Promise<AttachmentRecord | undefined> {
    const { directory, identity } = this.#world;
    const records = await listAttachments(directory, identity.clusterId);
    return records.find((record) => record.objectId === objectId);
  }

  /** An attachment of this host as it is, one of another host as its record says. */
  async viewAnywhere(objectId: string, hosts: ClusterHosts): Promise<AttachmentView | undefined> {
    const own = this.view(objectId);
    if (own !== undefined) return own;
    const record = await this.find(objectId);
    if (record === undefined) return undefined;
    const { hostId } = record;
    const isDown = hostId !== this.#world.identity.hostId && !hosts.isReachable(hostId);
    return viewOf(record, hosts.nameOf(hostId), isDown ? "its host is down" : undefined);
  }

  owners(): readonly ObjectOwner[] {
    return [...this.#offered.values()].map(({ owner }) => owner);
  }

  /** Fails with `volume-attached`, those of `ObjectOwner.take` and of `Network.listen`. */
  async attach(volume: ObjectRecord, request: VolumeAttachRequest): Promise<AttachmentView> {
    await this.#dropStopped(volume.objectId);
    const current = this.view(volume.objectId);
    if (current !== undefined) throw attached(volume.name, current.address);
    await this.#dropDead(volume);
    const address = request.nbd ?? this.#defaultSocket(volume.name);
    const vhostUser = vhostOf(request);
    const wanted: AttachmentRecord = {
      objectId: volume.objectId,
      volume: volume.name,
      hostId: this.#world.identity.hostId,
      nbd: formatAddress(parseAddress(address)),
      readOnly: request.readOnly ?? false,
      ...(vhostUser === undefined ? {} : { vhostUser }),
    };
    const offered = await this.#offer(wanted);
    try {
      // With the port that was chosen where the request left that open.
      const record = { ...wanted, nbd: formatAddress(offered.server.address) };
      offered.record = record;
      await createAttachment(this.#world.directory, this.#world.identity.clusterId, record);
      this.#offered.set(record.objectId, offered);
      this.#event(
        "info",
        "volume-attached",
        `volume ${record.volume} is attached at ${record.nbd}`,
        record,
      );
      return viewOf(record, this.#world.identity.hostName, undefined, offered.vhost);
    } catch (error) {
      await withdraw(offered);
      throw error;
    }
  }

  /** One that cannot be served any more, or could not be offered again, makes way for a new one. */
  async #dropStopped(objectId: string): Promise<void> {
    const { directory, identity } = this.#world;
    const offered = this.#offered.get(objectId);
    const isStopped = offered?.stoppedReason !== undefined;
    if (!isStopped && !this.#failed.has(objectId)) return;
    if (offered !== undefined) await withdraw(offered);
    const record = await this.find(objectId);
    if (record?.hostId === identity.hostId)
      await deleteAttachment(directory, identity.clusterId, objectId);
    this.#offered.delete(objectId);
    this.#failed.delete(objectId);
  }

  /** An attachment on a host that is gone is moved here. Fails with `volume-attached`. */
  async #dropDead(volume: ObjectRecord): Promise<void> {
    const { directory, identity } = this.#world;
    const record = await this.find(volume.objectId);
    if (record === undefined || record.hostId === identity.hostId) return;
    if (await this.#plane.hosts.isAlive(record.hostId))
      throw attached(volume.name, `${record.nbd} on ${this.#plane.hosts.nameOf(record.hostId)}`);
    await deleteAttachment(directory, identity.clusterId, volume.objectId);
  }

  /** Fails with `volume-not-attached`. */
  async detach(volume: ObjectRecord): Promise<void> {
    const { objectId } = volume;
    const offered = this.#offered.get(objectId);
    const record = offered?.record ?? this.#failed.get(objectId)?.record;
    if (record === undefined) {
      throw new CodedError({
        code: "volume-not-attached",
        message: `volume ${volume.name} is not attached`,
        hint: "drystone volume list shows what is",
      });
    }
    if (offered !== undefined) await withdraw(offered);
    await deleteAttachment(this.#world.directory, this.#world.identity.clusterId, objectId);
    this.#offered.delete(objectId);
    this.#failed.delete(objectId);
    this.#event("info", "volume-detached", `volume ${volume.name} is detached`, record);
  }

  /**
   * Offers again what was attached when the host ended. What cannot be is kept, with the reason.
   */
  async restore(): Promise<{ attachedCount: number; failedCount: number }> {
    const { directory, identity } = this.#world;
    const records = await listAttachments(directory, identity.clusterId);
    for (const record of records.filter(({ hostId }) => hostId === identity.hostId)) {
      try {
        this.#offered.set(record.objectId, await this.#offer(record));
      } catch (error) {
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
    if (offered !== undefined)
      return viewOf(offered.record, hostName, offered.stoppedReason, offered.vhost);
    const failed = this.#failed.get(objectId);
    return failed === undefined ? undefined : viewOf(failed.record, hostName, failed.reason);
  }

  /** The name of an object that is offered here. */
  volumeName(objectId: string): string | undefined {
    return this.#offered.get(objectId)?.record.volume;
  }

  /** The machines that use the volume are told that it has grown. */
  resized(objectId: string): void {
    this.#offered.get(objectId)?.vhost?.resized();
  }

  owner(objectId: string): ObjectOwner | undefined {
    return this.#offered.get(objectId)?.owner;
  }

  /** Answers what is in flight and closes; the records stay for the next start. */
  async close(): Promise<void> {
    const all = [...this.#offered.values()];
    this.#offered.clear();
    const closing = await Promise.allSettled(all.map(withdraw));
    for (const [index, outcome] of closing.entries()) {
      if (outcome.status === "fulfilled") continue;
      const volume = all[index]!.record.volume;
      this.#world.log.write("error", "a volume was not closed cleanly", {
        volume,
        error: errorText(outcome.reason),
      });
    }
  }

  async #offer(record: AttachmentRecord): Promise<Offered> {
    const address = parseAddress(record.nbd);
    const owner = await ObjectOwner.take(
      this.#plane.ownerWorld(),
      record.objectId,
      record.readOnly,
    );
    try {
      const catalog = new SingleExport(owner.volume, `Drystone volume ${record.volume}`);
      const { network, clock, log } = this.#world;
      const server = await NbdServer.listen({ network, clock, log }, catalog, { address });
      const vhost = await this.#offerVhost(record, owner, server);
      const offered: Offered = { record, owner, server, vhost, stoppedReason: undefined };
      owner.onStopped((reason) => {
        offered.stoppedReason = reason;
        const message = `volume ${record.volume} is not served here any more: ${reason}`;
        this.#event("error", "volume-stopped", message, record);
      });
      return offered;
    } catch (error) {
      await owner.close();
      throw withVolume(error, record);
    }
  }

  async #offerVhost(
    { vhostUser }: AttachmentRecord,
    owner: ObjectOwner,
    server: NbdServer,
  ): Promise<VhostUserServer | undefined> {
    if (vhostUser === undefined) return undefined;
    try {
      return await this.#vhostOffers.offer(vhostUser, owner.volume);
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

  #event(level: "info" | "error", kind: string, message: string, record: AttachmentRecord): void {
    const details = { volume: record.volume, address: record.nbd };
    this.#world.addEvent({ level, kind, message, details });
  }
}

async function withdraw({ owner, server, vhost }: Offered): Promise<void> {
  await Promise.all([server.close(CLOSE_MS_MAX), vhost?.close(CLOSE_MS_MAX)]);
  await owner.close();
}

function viewOf(
  record: AttachmentRecord,
  host: string,
  reason: string | undefined,
  vhost?: VhostUserServer,
): AttachmentView {
  const { vhostUser } = record;
  return {
    volume: record.volume,
    host,
    kind: "nbd",
    address: record.nbd,
    uri: nbdUri(parseAddress(record.nbd), record.volume),
    readOnly: record.readOnly,
    ...(vhostUser === undefined ? {} : { vhostUser: vhostView(record.volume, vhostUser, vhost) }),
    state: reason === undefined ? "online" : "failed",
    ...(reason === undefined ? {} : { reason }),
  };
}

/** The listener's refusals name the address; say what it was wanted for and what to do. */
function withVolume(error: unknown, record: AttachmentRecord): unknown {
  if (!(error instanceof CodedError)) return error;
  const { fault } = error;
  const hint = fault.hint ?? "Choose another address with --nbd";
  const message = `volume ${record.volume} cannot be attached: ${fault.message}`;
  return new CodedError({ ...fault, message, hint }, { cause: error });
}
