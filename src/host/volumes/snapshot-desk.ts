/**
 * Snapshots and clones, on the host that owns the volume, or on any while nobody does. Each is an
 * object made of forks of another one's components.
 */
import { BLOCK_SIZE_BYTES, CodedError } from "../../base/index.ts";
import {
  checkUserName,
  checkVolumeName,
  createVolumeRecord,
  findVolume,
  listVolumes,
  replaceVolumeRecord,
  SNAPSHOT_MARK,
  snapshotNames,
} from "../../cluster/index.ts";
import type { ObjectRecord, StoredObject } from "../../cluster/index.ts";
import { ObjectOwner } from "../../object/index.ts";
import type { CallAnswer, CallRequest } from "../../link/index.ts";
import type { ForkRequest, HostPlane } from "../../plane/index.ts";
import type { Attachments } from "./attachments.ts";
import { attached } from "./attachment-records.ts";
import type { ClusterViews } from "../peers/cluster-views.ts";
import { readAnswer } from "../peers/peer-answers.ts";
import type { PlaneWorld } from "../data/plane-world.ts";
import type { SnapshotRoom } from "./snapshot-room.ts";
import { volumeChangesShape } from "./snapshot-shapes.ts";
import type { CloneRequest, SnapshotListRequest, SnapshotView } from "./snapshot-views.ts";
import type { VolumeChangesRequest, VolumeChangesView } from "./snapshot-views.ts";
import type { VolumeView } from "../api/views.ts";

const FORWARD_MS = 60_000;

export interface SnapshotDeskWorld {
  readonly world: PlaneWorld;
  readonly plane: HostPlane;
  readonly attachments: Attachments;
  readonly views: ClusterViews;
  readonly room: SnapshotRoom;
  /** One thing at a time for each name. */
  readonly exclusive: <T>(name: string, task: () => Promise<T>) => Promise<T>;
}

export class SnapshotDesk {
  readonly #desk: SnapshotDeskWorld;

  constructor(desk: SnapshotDeskWorld) {
    this.#desk = desk;
    const { plane } = desk;
    plane.links.handle("volume.fork", async ({ argument }) => {
      const { source, name, isFrozen } = forkOf(argument);
      await this.#fork(await this.#find(source), name, isFrozen, false);
      return { result: null };
    });
    this.#answerOthers();
  }

  #answerOthers(): void {
    const answer = async ({ argument }: CallRequest): Promise<CallAnswer> => ({
      result: await this.changes(changesOf(argument)),
    });
    this.#desk.plane.links.handle("volume.changes", answer, "long");
  }

  async create(name: string): Promise<SnapshotView> {
    const { volume } = requireSnapshotName(name);
    return await this.#desk.exclusive(volume, async () => {
      await this.#requireVacant(name);
      await this.#fork(await this.#find(volume), name, true, true);
      this.#event("snapshot-created", `snapshot ${name} was taken`, volume);
      return await this.#view((await this.#find(name)).record);
    });
  }

  async clone({ name: source, clone }: CloneRequest): Promise<VolumeView> {
    checkVolumeName(clone);
    checkUserName(source);
    return await this.#desk.exclusive(clone, async () => {
      await this.#requireVacant(clone);
      await this.#fork(await this.#find(source), clone, false, true);
      this.#event("volume-cloned", `volume ${clone} was cloned from ${source}`, clone);
      return await this.#desk.views.volume((await this.#find(clone)).record);
    });
  }

  async list({ volume }: SnapshotListRequest): Promise<readonly SnapshotView[]> {
    if (volume !== undefined) await this.#find(volume);
    const all = await listVolumes(this.#directory, this.#clusterId);
    const wanted = all.filter(
      ({ name, snapshot }) =>
        snapshot !== undefined && (volume === undefined || snapshotNames(name)?.volume === volume),
    );
    const room = await this.#desk.room.of(wanted.map(({ objectId }) => objectId));
    const views = await Promise.all(wanted.map((record) => this.#view(record)));
    return views.map((view) => {
      const uniqueBytes = room.get(view.objectId);
      return uniqueBytes === undefined ? view : { ...view, uniqueBytes };
    });
  }

  async delete(name: string): Promise<void> {
    const { volume } = requireSnapshotName(name);
    await this.#desk.exclusive(volume, async () => {
      const { record } = await this.#find(name);
      await this.#requireDetached(record);
      await this.#desk.plane.deleteVolume(name);
      this.#event("snapshot-deleted", `snapshot ${name} was deleted`, volume);
    });
  }

  /**
   * The volume's name is that of a clone of the snapshot afterwards; what it held before is gone.
   */
  async rollback(name: string): Promise<VolumeView> {
    const { volume } = requireSnapshotName(name);
    return await this.#desk.exclusive(volume, async () => {
      const { record: snapshot } = await this.#find(name);
      await this.#requireDetached((await this.#find(volume)).record);
      await this.#desk.plane.leaveRepair(volume);
      const old = await this.#find(volume);
      const commit: ForkRequest["commit"] = (made, intents) =>
        replaceVolumeRecord(this.#directory, this.#clusterId, old, made, intents);
      await this.#owned(snapshot, (owner) =>
        this.#desk.plane.forkVolume(owner, { name: volume, isFrozen: false, commit }),
      );
      await this.#desk.plane.removeComponents(old.record);
      this.#event("volume-rolled-back", `volume ${volume} was rolled back to ${name}`, volume);
      return await this.#desk.views.volume((await this.#find(volume)).record);
    });
  }

  /** On the host where it is attached, if it is. Fails with `snapshot-unrelated`. */
  async changes(request: VolumeChangesRequest): Promise<VolumeChangesView> {
    const { name, since, offset = 0 } = request;
    const { record } = await this.#find(name);
    const { plane, world, attachments } = this.#desk;
    const at = await attachments.find(record.objectId);
    if (at !== undefined && at.hostId !== world.identity.hostId) {
      const options = { deadlineMs: FORWARD_MS };
      const answer = await plane.links.call(at.hostId, "volume.changes", request, options);
      return readAnswer(volumeChangesShape, answer.result, "host-unreachable");
    }
    const sequence = since === undefined ? 0 : await this.#sequenceOf(since, record);
    return await this.#owned(record, async (owner) => {
      const { runs, nextBlock } = await owner.changes(
        sequence,
        Math.floor(offset / BLOCK_SIZE_BYTES),
      );
      const nextOffset = nextBlock === undefined ? undefined : nextBlock * BLOCK_SIZE_BYTES;
      return {
        name,
        sizeBytes: record.sizeBytes,
        ranges: runs.map(({ kind, blockIndex, blockCount }) => ({
          kind,
          offset: blockIndex * BLOCK_SIZE_BYTES,
          lengthBytes: blockCount * BLOCK_SIZE_BYTES,
        })),
        ...(nextOffset === undefined ? {} : { nextOffset }),
        ...(request.digest === true ? { digest: await owner.digest() } : {}),
        ...(record.encryption === undefined ? {} : { domainId: record.encryption.domainId }),
      };
    });
  }

  /** Sequences of two snapshots compare if both were taken of one object. */
  async #sequenceOf(since: string, { name, snapshot }: ObjectRecord): Promise<number> {
    const volume = snapshotNames(name)?.volume ?? name;
    const base = (await this.#find(`${volume}${SNAPSHOT_MARK}${since}`)).record;
    const isOfOneLine =
      snapshot !== undefined &&
      base.snapshot?.objectId === snapshot.objectId &&
      base.snapshot.sequence <= snapshot.sequence;
    if (isOfOneLine && base.snapshot !== undefined) return base.snapshot.sequence;
    throw new CodedError({
      code: "snapshot-unrelated",
      message: `what ${name} holds cannot be told as changes since ${base.name}`,
      hint: "they are not of one line: export it whole",
    });
  }

  /** Fails with `volume-has-snapshots`. */
  async requireNone(volume: string): Promise<void> {
    const all = await listVolumes(this.#directory, this.#clusterId);
    const own = all.filter(({ name }) => snapshotNames(name)?.volume === volume);
    if (own.length === 0) return;
    throw new CodedError({
      code: "volume-has-snapshots",
      message: `${volume} has ${own.length} snapshots, ${own[0]!.name} for one`,
      hint: `delete them first: \`drystone snapshot delete ${own[0]!.name}\``,
    });
  }

  get #directory(): PlaneWorld["directory"] {
    return this.#desk.world.directory;
  }

  get #clusterId(): string {
    return this.#desk.world.identity.clusterId;
  }

  #find(name: string): Promise<StoredObject> {
    checkUserName(name);
    return findVolume(this.#directory, this.#clusterId, name);
  }

  async #requireVacant(name: string): Promise<void> {
    const all = await listVolumes(this.#directory, this.#clusterId);
    if (all.every((one) => one.name !== name)) return;
    throw new CodedError({
      code: "volume-exists",
      message: `there is one named ${name} already`,
      hint: "choose another name, or delete that one first",
    });
  }

  async #requireDetached({ objectId, name }: ObjectRecord): Promise<void> {
    const found = await this.#desk.attachments.find(objectId);
    if (found !== undefined) throw attached(name, found.nbd);
  }

  /** On the host where the source is attached, if it is. */
  async #fork(
    { record }: StoredObject,
    name: string,
    isFrozen: boolean,
    mayForward: boolean,
  ): Promise<void> {
    const { plane, world } = this.#desk;
    const at = await this.#desk.attachments.find(record.objectId);
    if (mayForward && at !== undefined && at.hostId !== world.identity.hostId) {
      const options = { deadlineMs: FORWARD_MS };
      const argument = { source: record.name, name, isFrozen };
      await plane.links.call(at.hostId, "volume.fork", argument, options);
      return;
    }
    const commit: ForkRequest["commit"] = (made, intents) =>
      createVolumeRecord(this.#directory, this.#clusterId, made, intents);
    await this.#owned(record, (owner) => plane.forkVolume(owner, { name, isFrozen, commit }));
  }

  /** For a moment, if it is not owned here anyway. */
  async #owned<T>(
    { objectId, snapshot }: ObjectRecord,
    work: (owner: ObjectOwner) => Promise<T>,
  ): Promise<T> {
    const { plane, attachments } = this.#desk;
    const own = attachments.owner(objectId);
    if (own !== undefined) return await work(own);
    const owner = await ObjectOwner.take(plane.ownerWorld(), objectId, snapshot !== undefined);
    try {
      return await work(owner);
    } finally {
      await owner.close();
    }
  }

  async #view(record: ObjectRecord): Promise<SnapshotView> {
    const { name, objectId, sizeBytes, accessible, reason, logicalBytes, attachment } =
      await this.#desk.views.volume(record);
    return {
      name,
      volume: snapshotNames(name)?.volume ?? name,
      objectId,
      sizeBytes,
      createdMs: record.snapshot?.createdMs ?? 0,
      sequence: record.snapshot?.sequence ?? 0,
      accessible,
      ...(reason === undefined ? {} : { reason }),
      ...(logicalBytes === undefined ? {} : { logicalBytes }),
      ...(attachment === undefined ? {} : { attachment }),
    };
  }

  #event(kind: string, message: string, volume: string): void {
    this.#desk.world.addEvent({ level: "info", kind, message, details: { volume } });
  }
}

function requireSnapshotName(name: string): { readonly volume: string } {
  checkUserName(name);
  const names = snapshotNames(name);
  if (names !== undefined) return names;
  throw new CodedError({
    code: "volume-name-invalid",
    message: `${name} is the name of a volume, not of a snapshot`,
    hint: `write VOLUME${SNAPSHOT_MARK}SNAPSHOT, for example ${name}${SNAPSHOT_MARK}monday`,
  });
}

/** From another host. */
function forkOf(argument: unknown): { source: string; name: string; isFrozen: boolean } {
  const said: Partial<Record<"source" | "name" | "isFrozen", unknown>> =
    typeof argument === "object" && argument !== null ? argument : {};
  const { source, name, isFrozen } = said;
  if (typeof source === "string" && typeof name === "string")
    return { source, name, isFrozen: isFrozen === true };
  throw new CodedError({ code: "request-invalid", message: "a fork has no source or no name" });
}

/** From another host. */
function changesOf(argument: unknown): VolumeChangesRequest {
  const said: Partial<Record<keyof VolumeChangesRequest, unknown>> =
    typeof argument === "object" && argument !== null ? argument : {};
  const { name, since, offset, digest } = said;
  if (typeof name !== "string")
    throw new CodedError({ code: "request-invalid", message: "changes of nothing" });
  return {
    name,
    ...(typeof since === "string" ? { since } : {}),
    ...(typeof offset === "number" ? { offset } : {}),
    ...(digest === true ? { digest } : {}),
  };
}
