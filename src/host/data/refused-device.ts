/**
 * A disk of a cluster's host that is not what it was when the host was last there: the host starts
 * without it, since the others have copies of what it held. On its first start, or alone, a host
 * refuses to start instead: then somebody made a mistake who is looking.
 */
import { CodedError } from "../../base/index.ts";
import { listDevices } from "../../cluster/index.ts";
import type { PlaneWorld } from "./plane-world.ts";
import type { DeviceView } from "../api/views.ts";

const DISK_CODES: ReadonlySet<string> = new Set([
  "device-ends-host",
  "device-foreign",
  "device-incomplete",
  "device-invalid",
  "device-missing",
  "device-other-cluster",
  "device-other-host",
  "device-read-only",
  "device-shrunk",
  "device-too-small",
  "format-unknown",
  "gone",
  "journal-damaged",
  "metadata-damaged",
  "metadata-failed",
  "metadata-foreign",
  "metadata-missing",
  "metadata-other-device",
  "read-error",
  "superblock-damaged",
  "write-error",
]);

/** What to show in place of the device; fails with `error` if the host may not start without it. */
export async function refusedDevice(
  { directory, identity, addEvent }: PlaneWorld,
  path: string,
  error: unknown,
): Promise<DeviceView> {
  if (!(error instanceof CodedError) || !DISK_CODES.has(error.code)) throw error;
  if (identity.storageAddress === undefined) throw error;
  const stored = await listDevices(directory, identity.clusterId);
  // Also one that had failed, or that an earlier start went without: it is no more of a mistake
  // now.
  const had = stored.find(({ record }) => {
    return record.path === path && record.hostId === identity.hostId && record.state !== "lost";
  });
  if (had === undefined) throw error;
  const { deviceId } = had.record;
  const { code, message, hint } = error.fault;
  addEvent({
    level: "error",
    kind: "device-refused",
    message: `the host starts without its device ${deviceId}: ${message}`,
    details: { deviceId, path, code },
  });
  return {
    deviceId,
    host: identity.hostName,
    path,
    state: "failed",
    reason: hint === undefined ? message : `${message} (${hint})`,
    adapter: "none",
    capacityBytes: 0,
    freeBytes: 0,
    logicalBytes: 0,
    uniqueBytes: 0,
    physicalBytes: 0,
    reclaimableBytes: 0,
    checksumErrors: 0,
    readErrors: 0,
    damagedBlocks: 0,
    componentCount: 0,
  };
}
