/**
 * Hosts and devices that are being taken out of service: what has to leave them before they may
 * go. The record stays until they are back in service, or gone.
 */
import type { Clock, Directory } from "../ports/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { DirectoryMirror } from "./directory-mirror.ts";
import type { DirectoryPulse } from "./directory-pulse.ts";
import { RecordFields } from "./record-fields.ts";

const FORMAT = 1;

/**
 * "evacuate": every component leaves. "ensure-accessibility": those leave without which their
 * volume could not be used. "none": nothing leaves.
 */
export const SERVICE_MODES = ["evacuate", "ensure-accessibility", "none"] as const;
export type ServiceMode = (typeof SERVICE_MODES)[number];

export interface ServiceRecord {
  /** Of the host or the device. */
  readonly id: string;
  readonly kind: "host" | "device";
  readonly mode: ServiceMode;
}

export async function putService(
  directory: Directory,
  clusterId: string,
  record: ServiceRecord,
): Promise<void> {
  const key = directoryKeys.service(clusterId, record.id);
  const value = JSON.stringify({ format: FORMAT, ...record });
  parse(key, value);
  await directory.transact([], [{ kind: "put", key, value }]);
}

/** Does nothing if there is none. */
export async function dropService(
  directory: Directory,
  clusterId: string,
  id: string,
): Promise<void> {
  const key = directoryKeys.service(clusterId, id);
  await directory.transact([], [{ kind: "delete", key }]);
}

export async function listServices(
  directory: Directory,
  clusterId: string,
): Promise<readonly ServiceRecord[]> {
  const { records } = await directory.list(directoryKeys.services(clusterId));
  return records.map(({ key, value }) => parse(key, value));
}

/** As `listServices` lists them, for whoever looks often. */
export function serviceMirror(
  directory: Directory,
  clusterId: string,
  clock: Clock,
  pulse: DirectoryPulse,
): DirectoryMirror<ServiceRecord> {
  const prefix = directoryKeys.services(clusterId);
  const orderOf = ({ id }: ServiceRecord): string => id;
  return new DirectoryMirror({ directory, clock, prefix, pulse, parse, orderOf });
}

function parse(key: string, text: string): ServiceRecord {
  const fields = RecordFields.parse(key, text, FORMAT);
  return {
    id: fields.text("id"),
    kind: fields.oneOf("kind", ["host", "device"]),
    mode: fields.oneOf("mode", SERVICE_MODES),
  };
}
