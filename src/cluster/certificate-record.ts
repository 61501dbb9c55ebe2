/**
 * Which certificates hosts have, by their serial numbers, and whose are refused: those of hosts
 * that were removed from the cluster, for as long as the cluster exists.
 */
import { CodedError } from "../base/index.ts";
import type { Directory } from "../ports/index.ts";
import { listDevices } from "./device-record.ts";
import { directoryKeys } from "./directory-keys.ts";
import { RecordFields } from "./record-fields.ts";

const FORMAT = 1;
/** Of one host; older ones have expired. */
const SERIALS_MAX = 64;
const ATTEMPTS_MAX = 5;

export interface RevokedHost {
  readonly hostId: string;
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly removedMs: number;
  /** In hexadecimal digits. */
  readonly serials: readonly string[];
}

/** Keeps the serial number of a certificate that a host has. Fails as the directory does. */
export async function noteCertificate(
  directory: Directory,
  clusterId: string,
  { hostId, serial }: { readonly hostId: string; readonly serial: string },
): Promise<void> {
  const key = directoryKeys.certificate(clusterId, hostId);
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const found = await directory.get(key);
    const before =
      found === undefined ? [] : serialsOf(RecordFields.parse(key, found.value, FORMAT));
    if (before.includes(serial)) return;
    const value = textOf({ serials: [...before, serial].slice(-SERIALS_MAX) });
    const condition = { key, revision: found?.revision ?? 0 };
    const outcome = await directory.transact([condition], [{ kind: "put", key, value }]);
    if (outcome.succeeded) return;
  }
  throw new CodedError({
    code: "object-contended",
    message: "the certificate of a host was noted by others at the same time, again and again",
  });
}

/**
 * Takes a host out of the cluster for good, with its devices and its certificates. Fails with
 * `host-unknown`.
 */
export async function removeHost(
  directory: Directory,
  clusterId: string,
  { hostId, nowMs }: { readonly hostId: string; readonly nowMs: number },
): Promise<void> {
  const key = directoryKeys.host(clusterId, hostId);
  const found = await directory.get(key);
  if (found === undefined) throw unknown(hostId);
  const name = RecordFields.parse(key, found.value, FORMAT).text("name");
  const certificateKey = directoryKeys.certificate(clusterId, hostId);
  const known = await directory.get(certificateKey);
  const serials =
    known === undefined ? [] : serialsOf(RecordFields.parse(certificateKey, known.value, FORMAT));
  const devices = (await listDevices(directory, clusterId)).filter(
    ({ record }) => record.hostId === hostId,
  );
  const keys = [
    key,
    certificateKey,
    directoryKeys.rotationAt(clusterId, hostId),
    directoryKeys.service(clusterId, hostId),
    directoryKeys.vmView(clusterId, hostId),
    directoryKeys.vmUnbound(clusterId, hostId),
    ...devices.map(({ record }) => directoryKeys.device(clusterId, record.deviceId)),
  ];
  const revoked = directoryKeys.revokedHost(clusterId, hostId);
  const value = textOf({ hostId, name, removedMs: nowMs, serials });
  const outcome = await directory.transact(
    [{ key, revision: found.revision }],
    [
      { kind: "put", key: revoked, value },
      ...keys.map((gone) => ({ kind: "delete", key: gone }) as const),
    ],
  );
  if (!outcome.succeeded) throw unknown(hostId);
}

export async function listRevoked(
  directory: Directory,
  clusterId: string,
): Promise<readonly RevokedHost[]> {
  const { records } = await directory.list(directoryKeys.revokedHosts(clusterId));
  return records.map(({ key, value }) => {
    const fields = RecordFields.parse(key, value, FORMAT);
    return {
      hostId: fields.text("hostId"),
      name: fields.text("name"),
      removedMs: fields.integer("removedMs", 0, Number.MAX_SAFE_INTEGER),
      serials: serialsOf(fields),
    };
  });
}

function serialsOf(fields: RecordFields): readonly string[] {
  return fields.children("serials", SERIALS_MAX).map((one) => one.text("serial"));
}

function textOf({
  serials,
  ...rest
}: { readonly serials: readonly string[] } & Partial<RevokedHost>): string {
  const list = serials.map((serial) => ({ serial }));
  return JSON.stringify({ format: FORMAT, ...rest, serials: list });
}

function unknown(hostId: string): CodedError {
  return new CodedError({
    code: "host-unknown",
    message: `the cluster has no host ${hostId.slice(0, 32)}, or it changes at this moment`,
    hint: "drystone host list shows all hosts",
  });
}
