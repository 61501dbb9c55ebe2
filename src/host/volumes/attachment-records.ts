/**
 * Which volumes are to be offered where: one record in the directory per attached volume. They
 * outlive the host process, so that after a restart each volume is back at its address.
 */
import { CodedError } from "../../base/index.ts";
import type { Directory } from "../../ports/index.ts";
import { isRecord } from "../api/shape.ts";
import { parseVhostRecord } from "./vhost-attachments.ts";
import type { VhostUserRecord } from "./vhost-attachments.ts";
import type { VolumeAttachRequest } from "../api/views.ts";

const FORMAT = 1;
/** Versions that know nothing of TLS must not offer the volume in the clear. */
const FORMAT_TLS = 2;

export interface AttachmentRecord {
  readonly objectId: string;
  readonly volume: string;
  readonly hostId: string;
  /** As `formatAddress` writes it. */
  readonly nbd: string;
  readonly readOnly: boolean;
  /** Clients over NBD have to prove who they are. */
  readonly tls: boolean;
  /** Tells it from every other attachment of the volume, before and after. */
  readonly attachmentId: string;
  /** Its host cannot serve the volume now: another one may take the attachment over. */
  readonly isHolding: boolean;
  /** The host that it has given the volume up for: that one alone may take the attachment over. */
  readonly givenTo?: string;
  readonly vhostUser?: VhostUserRecord;
}

export interface StoredAttachment {
  readonly record: AttachmentRecord;
  readonly revision: number;
}

/** Fails with `volume-attached` if the volume has a record. */
export async function createAttachment(
  directory: Directory,
  clusterId: string,
  record: AttachmentRecord,
): Promise<void> {
  const key = keyOf(clusterId, record.objectId);
  const value = valueOf(record);
  const outcome = await directory.transact([{ key, revision: 0 }], [{ kind: "put", key, value }]);
  if (!outcome.succeeded) throw attached(record.volume, "elsewhere");
}

/** Deletes it as it is; false if it has changed since, or is gone. */
export async function removeAttachment(
  directory: Directory,
  clusterId: string,
  { record, revision }: StoredAttachment,
): Promise<boolean> {
  const key = keyOf(clusterId, record.objectId);
  const outcome = await directory.transact([{ key, revision }], [{ kind: "delete", key }]);
  return outcome.succeeded;
}

/** In the place of the one of that revision: false if it has changed since, or is gone. */
export async function replaceAttachment(
  directory: Directory,
  clusterId: string,
  { record, revision }: StoredAttachment,
): Promise<boolean> {
  const key = keyOf(clusterId, record.objectId);
  const value = valueOf(record);
  const outcome = await directory.transact([{ key, revision }], [{ kind: "put", key, value }]);
  return outcome.succeeded;
}

export async function findAttachment(
  directory: Directory,
  clusterId: string,
  objectId: string,
): Promise<StoredAttachment | undefined> {
  const found = await directory.get(keyOf(clusterId, objectId));
  if (found === undefined) return undefined;
  const { key, value, revision } = found;
  return { record: parseAttachment(key, value), revision };
}

/** Whatever else has changed. */
export function isSameAttachment(one: AttachmentRecord, other: AttachmentRecord): boolean {
  return one.hostId === other.hostId && one.attachmentId === other.attachmentId;
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

export function notAttached(volume: string): CodedError {
  return new CodedError({
    code: "volume-not-attached",
    message: `volume ${volume} is not attached`,
    hint: "drystone volume list shows what is",
  });
}

/** The listener's refusals name the address; say what it was wanted for and what to do. */
export function withVolume(error: unknown, record: AttachmentRecord): unknown {
  if (!(error instanceof CodedError)) return error;
  const { fault } = error;
  const hint = fault.hint ?? "Choose another address with --nbd";
  const message = `volume ${record.volume} cannot be attached: ${fault.message}`;
  return new CodedError({ ...fault, message, hint }, { cause: error });
}

/** What has it offered in the same way once more. */
export function requestOf({ volume, nbd, tls, readOnly }: AttachmentRecord): VolumeAttachRequest {
  return { name: volume, nbd, readOnly, ...(tls ? { tls } : { plain: true }) };
}

/** Over vhost-user. */
export function isAt({ vhostUser }: AttachmentRecord, sockets: readonly string[]): boolean {
  return vhostUser !== undefined && sockets.includes(vhostUser.path);
}

function keyOf(clusterId: string, objectId: string): string {
  return `/drystone/${clusterId}/attachment/${objectId}`;
}

function valueOf(record: AttachmentRecord): string {
  return JSON.stringify({ format: record.tls ? FORMAT_TLS : FORMAT, ...record });
}

function parseAttachment(key: string, value: string): AttachmentRecord {
  const fields: unknown = JSON.parse(value);
  const format = isRecord(fields) ? fields["format"] : undefined;
  if (!isRecord(fields) || (format !== FORMAT && format !== FORMAT_TLS)) {
    throw new CodedError({
      code: "record-format-unknown",
      message: `the directory's record ${key} has format ${String(format)}, this program understands formats ${FORMAT} and ${FORMAT_TLS}`,
      hint: "Install the version that wrote it",
    });
  }
  const text = (name: string): string => {
    const found = fields[name];
    if (typeof found === "string") return found;
    throw new CodedError({ code: "record-invalid", message: `the record ${key} lacks ${name}` });
  };
  const attachmentId = fields["attachmentId"];
  const givenTo = fields["givenTo"];
  const vhostUser = parseVhostRecord(fields["vhostUser"]);
  return {
    objectId: text("objectId"),
    volume: text("volume"),
    hostId: text("hostId"),
    nbd: text("nbd"),
    readOnly: fields["readOnly"] === true,
    tls: fields["tls"] === true,
    // Earlier versions wrote none.
    attachmentId: typeof attachmentId === "string" ? attachmentId : "",
    isHolding: fields["isHolding"] === true,
    ...(typeof givenTo === "string" ? { givenTo } : {}),
    ...(vhostUser === undefined ? {} : { vhostUser }),
  };
}
