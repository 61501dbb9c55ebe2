/**
 * From a path to an open device: finds its halves, looks before it writes, formats what is empty,
 * and refuses what is foreign, somebody else's or half missing. Nothing is changed before it is
 * clear that the device may be taken.
 */
import { existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { CodedError, errorText } from "../../base/index.ts";
import { DiskRequests } from "../../ports/index.ts";
import type { Disk, MetadataStore } from "../../ports/index.ts";
import { readClusterVersion, VERSION_OF, versionKnownBy } from "../../cluster/index.ts";
import { Device } from "../../store/index.ts";
import type { DeviceEvent, DeviceInspection } from "../../store/index.ts";
import type { OpenDeviceRequest } from "./data-plane-port.ts";
import { DeviceMounts } from "./device-mounts.ts";
import { findDevicePlace, metadataPathOf, refusal, writeRefusal } from "./device-place.ts";
import { systemErrorCode } from "../system-error.ts";
import type { DevicePlace } from "./device-place.ts";
import type { PlaneWorld } from "./plane-world.ts";

/** What precedes the journal on a device. */
const SUPERBLOCKS_BYTES = 1 << 20;
const SEGMENT_BYTES = 4 << 20;
const JOURNAL_SHARE = 16;
const JOURNAL_BYTES_MIN = 64 << 20;
const JOURNAL_BYTES_MAX = 256 << 20;
const ZEROES_BYTES = 1 << 20;
const ZEROES_AT_ONCE = 4;
const METADATA_LOG_SHARE = 64;
const METADATA_LOG_BYTES_MIN = 8 << 20;
const METADATA_LOG_BYTES_MAX = 64 << 20;

export interface OpenedDevice {
  readonly path: string;
  readonly device: Device;
  readonly disk: Disk;
}

/**
 * `onEvent` hears what happens to the device, from its opening on. Fails with the codes of
 * `findDevicePlace`, of `Device.open` and of the disk's adapter.
 */
export async function openDeviceAt(
  world: PlaneWorld,
  request: OpenDeviceRequest,
  onEvent: (event: DeviceEvent) => void,
): Promise<OpenedDevice> {
  const mounts = new DeviceMounts(world.identity.devicesPath);
  if (!request.wipe && !existsSync(join(request.path, "data"))) mounts.check(request.path);
  const place = findDevicePlace(request.path, request.sizeBytes, request.mustBeEmpty !== true);
  const disk = openDisk(world, place);
  try {
    const opening = new DeviceOpening(world, { request, place, disk, onEvent });
    const device = await opening.run();
    if (place.isDirectory) noteMount(world, mounts, request.path);
    return { path: request.path, device, disk };
  } catch (error) {
    await disk.close();
    throw withPath(error, request.path);
  }
}

/** A host whose state directory is full serves what it has all the same. */
function noteMount(world: PlaneWorld, mounts: DeviceMounts, path: string): void {
  try {
    mounts.note(path);
  } catch (error) {
    world.log.write("warning", "where a device is mounted was not noted", {
      path,
      error: errorText(error),
    });
  }
}

interface Subject {
  readonly request: OpenDeviceRequest;
  readonly place: DevicePlace;
  readonly disk: Disk;
  readonly onEvent: (event: DeviceEvent) => void;
}

type OwnInspection = Extract<DeviceInspection, { kind: "drystone" }>;

class DeviceOpening {
  readonly #world: PlaneWorld;
  readonly #subject: Subject;

  constructor(world: PlaneWorld, subject: Subject) {
    this.#world = world;
    this.#subject = subject;
  }

  async run(): Promise<Device> {
    const { request, disk } = this.#subject;
    const { clusterId, hostId } = this.#world.identity;
    const found = await Device.inspect(disk);
    const isOurs =
      found.kind === "drystone" &&
      found.superblock.clusterId === clusterId &&
      found.superblock.hostId === hostId;
    if (request.mustBeEmpty === true && isOurs)
      throw refusal(
        "device-known",
        request.path,
        `${request.path} is a device that this host has had before`,
        "Name it in the host's configuration and start the host again: it is looked at then",
      );
    if (found.kind === "empty" || (request.wipe && !isOurs)) return await this.#format(found);
    // For every other finding than a device of this cluster `Device.open` knows the right refusal,
    // and makes it before it looks at the metadata.
    if (!isOurs) return await this.#open(NO_METADATA);
    this.#requireJournal(found.superblock);
    const path = this.#metadataPath(found.superblock.deviceId);
    if (!existsSync(path)) {
      throw refusal(
        "device-incomplete",
        request.path,
        `${request.path} has data, but its metadata at ${path} is missing`,
        "Restore the metadata from the same moment as the data",
      );
    }
    const metadata = await this.#openMetadata(path, true);
    try {
      return await this.#open(metadata);
    } catch (error) {
      await metadata.close();
      throw error;
    }
  }

  /** What lies beyond the end of a journal that was cut would be looked for in the data. */
  #requireJournal(of: OwnInspection["superblock"]): void {
    const { path, journalPath } = this.#subject.place;
    if (journalPath === undefined) return;
    const { size } = statSync(journalPath);
    const end = of.journalOffset + of.segmentCount * of.segmentBytes;
    if (size >= end) return;
    throw refusal(
      "device-shrunk",
      path,
      `the journal of ${path} has ${size} bytes, and had ${end} when it was made`,
      "Restore the device, or remove it and rebuild from the other copies",
    );
  }

  async #format(found: DeviceInspection): Promise<Device> {
    const { place, disk } = this.#subject;
    const { identity, digests, clock, log, addEvent } = this.#world;
    const { clusterId, hostId } = identity;
    const deviceId = this.#world.newId();
    await this.#clearMetadata(deviceId, found);
    const metadata = await this.#openMetadata(this.#metadataPath(deviceId), false);
    try {
      const journalBytes = journalBytesFor(disk.sizeBytes);
      if (place.journalPath !== undefined)
        await writeZeroes(disk, SUPERBLOCKS_BYTES + journalBytes);
      const ports = { disk, metadata, digests, clock, log };
      await Device.format(ports, {
        clusterId,
        hostId,
        deviceId,
        journalBytes,
        segmentBytes: SEGMENT_BYTES,
      });
      const wiped = found.kind === "empty" ? "" : ", what it held before is gone";
      addEvent({
        level: "info",
        kind: "device-formatted",
        message: `device ${deviceId} was made at ${place.path}${wiped}`,
        details: { deviceId, path: place.path },
      });
      return await this.#open(metadata);
    } catch (error) {
      await metadata.close();
      throw error;
    }
  }

  async #open(metadata: MetadataStore): Promise<Device> {
    const { disk, onEvent } = this.#subject;
    const { identity, digests, clock, log } = this.#world;
    const { clusterId, hostId, memory } = identity;
    return await Device.open(
      { disk, metadata, digests, clock, log },
      {
        clusterId,
        hostId,
        // The rest is for what large writes have on their way and in the backlog.
        journalMemoryBytes: memory.device.journalBytes,
        blockCacheBytes: memory.device.blockCacheBytes,
        pageCacheBytes: memory.device.pageCacheBytes,
        onEvent,
      },
    );
  }

  /**
   * Metadata left over from a format that a crash cut short goes; metadata of a device in use
   * stays.
   */
  async #clearMetadata(deviceId: string, found: DeviceInspection): Promise<void> {
    const { request } = this.#subject;
    const path = this.#metadataPath(deviceId);
    if (!existsSync(path)) return;
    if (found.kind === "empty" && !request.wipe && (await isInUse(this.#world, path))) {
      throw refusal(
        "device-incomplete",
        request.path,
        `${request.path} has the metadata of a device in use, but its data is empty`,
        "Restore the data, or give --wipe to start over without it",
      );
    }
    rmSync(dirname(path), { recursive: true, force: true });
  }

  async #openMetadata(path: string, mustExist: boolean): Promise<MetadataStore> {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const bytes = metadataLogBytesFor(this.#subject.disk.sizeBytes);
    const { metadataTableBytes: tableBytes } = this.#world.identity.memory.device;
    const log = { bytes, tableBytes, mayBegin: await mayLogMetadata(this.#world) };
    return await this.#world.openMetadata(path, { mustExist, log });
  }

  #metadataPath(deviceId: string): string {
    return metadataPathOf(this.#subject.place, this.#world.identity.devicesPath, deviceId);
  }
}

/**
 * A file system notes down when a part of a file is written for the first time, also where space
 * was set aside before: a flush behind that takes twice as long as one behind any later write.
 */
async function writeZeroes(disk: Disk, lengthBytes: number): Promise<void> {
  const zeroes = disk.allocate(ZEROES_BYTES);
  const requests = new DiskRequests(disk);
  let at = 0;
  const writeOn = async (): Promise<void> => {
    while (at < lengthBytes) {
      const offset = at;
      const count = Math.min(ZEROES_BYTES, lengthBytes - offset);
      at += count;
      await requests.write(zeroes, 0, count, offset);
    }
  };
  await Promise.all(Array.from({ length: ZEROES_AT_ONCE }, writeOn));
  await requests.flushRange(0, lengthBytes);
}

function openDisk(world: PlaneWorld, place: DevicePlace): Disk {
  const { dataPath, journalPath, createSizeBytes } = place;
  if (journalPath === undefined) return world.openDisk(dataPath, {});
  if (createSizeBytes === undefined) {
    return world.openDisk(dataPath, { directWrites: true, head: { path: journalPath } });
  }
  const journalBytes = SUPERBLOCKS_BYTES + journalBytesFor(createSizeBytes);
  return world.openDisk(dataPath, {
    createSizeBytes,
    directWrites: true,
    head: { path: journalPath, createSizeBytes: journalBytes },
  });
}

const NO_METADATA: MetadataStore = {
  get: () => undefined,
  scan: () => undefined,
  commit: () => Promise.reject(new Error("a refused device has no metadata")),
  usedBytes: () => 0,
  close: async () => undefined,
};

/** A device that was formatted and never used has a checkpoint and nothing else. */
async function isInUse(world: PlaneWorld, path: string): Promise<boolean> {
  if (statSync(path).size === 0) return false;
  const metadata = await world.openMetadata(path, { mustExist: true });
  let count = 0;
  metadata.scan(new Uint8Array(), new Uint8Array(32).fill(255), () => ++count < 2);
  await metadata.close();
  return count >= 2;
}

/**
 * Whether an upgrade need not be taken back any more: a version before this one does not see what
 * is in a log. Where the directory does not say so now, the next start asks again.
 */
async function mayLogMetadata({ directory, identity }: PlaneWorld): Promise<boolean> {
  if (versionKnownBy(identity) < VERSION_OF.metadataLog) return false;
  try {
    return (await readClusterVersion(directory, identity.clusterId)) >= VERSION_OF.metadataLog;
  } catch (error) {
    if (error instanceof CodedError) return false;
    throw error;
  }
}

function metadataLogBytesFor(sizeBytes: number): number {
  const share = Math.floor(sizeBytes / METADATA_LOG_SHARE);
  return Math.min(METADATA_LOG_BYTES_MAX, Math.max(METADATA_LOG_BYTES_MIN, share));
}

function journalBytesFor(sizeBytes: number): number {
  const share = Math.floor(sizeBytes / JOURNAL_SHARE);
  const wanted = Math.min(JOURNAL_BYTES_MAX, Math.max(JOURNAL_BYTES_MIN, share));
  // Whole segments: the blocks begin where the journal ends.
  return Math.floor(wanted / SEGMENT_BYTES) * SEGMENT_BYTES;
}

/** Errors of floors that know no paths get the path that the user gave. */
function withPath(error: unknown, path: string): unknown {
  if (systemErrorCode(error) !== undefined && !(error instanceof CodedError)) {
    return writeRefusal(path, error);
  }
  if (!(error instanceof CodedError) || error.message.includes(path)) return error;
  return new CodedError({ ...error.fault, message: `${path}: ${error.message}` }, { cause: error });
}
