/**
 * The directory's records of the devices that hosts give to the cluster. A record outlives its
 * device: it says how far the device's life had come when it was last heard of, so that an old copy
 * of it is known as one.
 */
import type { Clock, Directory } from "../ports/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { DirectoryMirror } from "./directory-mirror.ts";
import type { DirectoryPulse } from "./directory-pulse.ts";
import { RecordFields } from "./record-fields.ts";

const FORMAT = 2;
const SIZE_BYTES_MAX = 2 ** 52;

export interface DeviceRecord {
  readonly deviceId: string;
  readonly hostId: string;
  readonly path: string;
  /**
   * "failed": it takes no writes any more. "missing": its host runs without it, and it may come
   * back. "lost": something else is in its place, so that what it held does not come back.
   */
  readonly state: "online" | "failed" | "missing" | "lost";
  readonly sizeBytes: number;
  /** Room for new data when the record was written. */
  readonly freeBytes: number;
  /** Starts of the device. */
  readonly incarnation: number;
  /** A frame of its journal that was durable when the record was written. */
  readonly frame: number;
}

export interface StoredDevice {
  readonly record: DeviceRecord;
  readonly revision: number;
}

/**
 * Writes the record iff it still has `revision`, 0 for none. Returns the revision that it has then,
 * or undefined if somebody else has written it.
 */
export async function putDevice(
  directory: Directory,
  clusterId: string,
  record: DeviceRecord,
  revision: number,
): Promise<number | undefined> {
  const key = directoryKeys.device(clusterId, record.deviceId);
  const value = JSON.stringify({ format: FORMAT, ...record });
  readDevice(key, value);
  const outcome = await directory.transact([{ key, revision }], [{ kind: "put", key, value }]);
  return outcome.succeeded ? outcome.revision : undefined;
}

export async function listDevices(
  directory: Directory,
  clusterId: string,
): Promise<readonly StoredDevice[]> {
  const { records } = await directory.list(directoryKeys.devices(clusterId));
  return records.map(({ key, value, revision }) => ({ record: readDevice(key, value), revision }));
}

/** As `listDevices` lists them, for whoever looks often. */
export function deviceMirror(
  directory: Directory,
  clusterId: string,
  clock: Clock,
  pulse: DirectoryPulse,
): DirectoryMirror<DeviceRecord> {
  const prefix = directoryKeys.devices(clusterId);
  const orderOf = ({ deviceId }: DeviceRecord): string => deviceId;
  return new DirectoryMirror({ directory, clock, prefix, pulse, parse: readDevice, orderOf });
}

function readDevice(key: string, value: string): DeviceRecord {
  const fields = RecordFields.parse(key, value, FORMAT);
  return {
    deviceId: fields.text("deviceId"),
    hostId: fields.text("hostId"),
    path: fields.text("path"),
    state: fields.oneOf("state", ["online", "failed", "missing", "lost"]),
    sizeBytes: fields.integer("sizeBytes", 0, SIZE_BYTES_MAX),
    freeBytes: fields.integer("freeBytes", 0, SIZE_BYTES_MAX),
    incarnation: fields.integer("incarnation", 0, Number.MAX_SAFE_INTEGER),
    frame: fields.integer("frame", 0, Number.MAX_SAFE_INTEGER),
  };
}
