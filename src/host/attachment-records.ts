/**
 * Which volumes are to be offered where: one record in the directory per attached volume. They
 * outlive the host process, so that after a restart each volume is back at its address.
 */
import { CodedError } from "../base/index.ts";
import type { Directory } from "../ports/index.ts";
import { isRecord } from "./shape.ts";
import { parseVhostRecord } from "./vhost-attachments.ts";
import type { VhostUserRecord } from "./vhost-attachments.ts";

const FORMAT = 1;

export interface AttachmentRecord {
  readonly objectId: string;
  readonly volume: string;
  readonly hostId: string;
  /** As `formatAddress` writes it. */
  readonly nbd: string;
  readonly readOnly: boolean;
  readonly vhostUser?: VhostUserRecord;
}

/** Fails with `volume-attached` if the volume has a record. */
export async function createAttachment(
  directory: Directory,
  clusterId: string,
  record: AttachmentRecord,
): Promise<void> {
  const key = keyOf(clusterId, record.objectId);
  const value = JSON.stringify({ format: FORMAT, ...record });
  const outcome = await directory.transact([{ key, revision: 0 }], [{ kind: "put", key, value }]);
  if (!outcome.succeeded) throw attached(record.volume, "elsewhere");
}

export async function deleteAttachment(
  directory: Directory,
  clusterId: string,
  objectId: string,
): Promise<void> {
  await directory.transact([], [{ kind: "delete", key: keyOf(clusterId, objectId) }]);
}

export async function listAttachments(
  directory: Directory,
  clusterId: string,
): Promise<readonly AttachmentRecord[]> {
  const { records } = await directory.list(keyOf(clusterId, ""));
  return records.map(({ key, value }) => parseAttachment(key, value));
}

export function attached(volume: string, where: string): CodedError {
  return new CodedError({
    code: "volume-attached",
    message: `volume ${volume} is attached at ${where}`,
    hint: `Detach it first: drystone volume detach ${volume}`,
  });
}

function keyOf(clusterId: string, objectId: string): string {
  return `/drystone/${clusterId}/attachment/${objectId}`;
}

function parseAttachment(key: string, value: string): AttachmentRecord {
  const fields: unknown = JSON.parse(value);
  if (!isRecord(fields) || fields["format"] !== FORMAT) {
    throw new CodedError({
      code: "record-format-unknown",
      message: `the directory's record ${key} has a format that this version does not know`,
      hint: "Install the version that wrote it",
    });
  }
  const text = (name: string): string => {
    const found = fields[name];
    if (typeof found === "string") return found;
    throw new CodedError({ code: "record-invalid", message: `the record ${key} lacks ${name}` });
  };
  const vhostUser = parseVhostRecord(fields["vhostUser"]);
  return {
    objectId: text("objectId"),
    volume: text("volume"),
    hostId: text("hostId"),
    nbd: text("nbd"),
    readOnly: fields["readOnly"] === true,
    ...(vhostUser === undefined ? {} : { vhostUser }),
  };
}
