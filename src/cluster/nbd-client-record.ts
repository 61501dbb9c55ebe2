/**
 * Who may use which volumes over NBD under TLS: one record per client, with the fingerprint of its
 * certificate or the key it shares. Clients are no part of the cluster and see nothing else of it.
 */
import { CodedError } from "../base/index.ts";
import type { Directory, DirectoryRecord } from "../ports/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { RecordFields } from "./record-fields.ts";

const FORMAT = 1;
const CLIENTS_MAX = 1000;
export const CLIENT_VOLUMES_MAX = 256;
const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;
const PROOF_PATTERN = /^[0-9a-f]{64}$/;
const PROOFS = ["certificate", "key"] as const;

export interface NbdClientRecord {
  readonly name: string;
  /** Names of volumes; "*" stands for all. */
  readonly volumes: readonly string[];
  readonly proof: (typeof PROOFS)[number];
  /** The certificate's SHA-256, or the shared key: 64 hexadecimal digits. */
  readonly secret: string;
  readonly createdMs: number;
  readonly expiresMs: number;
}

/** Why a client cannot have this name. */
export function nbdClientNameInvalid(name: string): string | undefined {
  if (NAME_PATTERN.test(name)) return undefined;
  return "is no name of a client: use 1 to 63 small letters, digits and -, first a letter or digit";
}

export function mayUseVolume({ volumes }: NbdClientRecord, volume: string): boolean {
  return volumes.includes("*") || volumes.includes(volume);
}

/** Fails with `client-exists` or `too-many-clients`. */
export async function createNbdClient(
  directory: Directory,
  clusterId: string,
  client: NbdClientRecord,
): Promise<void> {
  const { records } = await directory.list(directoryKeys.nbdClients(clusterId));
  if (records.length >= CLIENTS_MAX)
    throw new CodedError({
      code: "too-many-clients",
      message: `there are ${CLIENTS_MAX} clients already`,
      hint: "drystone client list shows them; drystone client delete removes one",
    });
  const key = directoryKeys.nbdClient(clusterId, client.name);
  const { volumes, ...rest } = client;
  const volumeList = volumes.map((volume) => ({ volume }));
  const value = JSON.stringify({ format: FORMAT, ...rest, volumeList });
  const outcome = await directory.transact([{ key, revision: 0 }], [{ kind: "put", key, value }]);
  if (outcome.succeeded) return;
  throw new CodedError({
    code: "client-exists",
    message: `there is a client named ${client.name} already`,
    hint: `Choose another name, or delete it first: drystone client delete ${client.name}`,
  });
}

export async function listNbdClients(
  directory: Directory,
  clusterId: string,
): Promise<readonly NbdClientRecord[]> {
  return (await directory.list(directoryKeys.nbdClients(clusterId))).records.map(parse);
}

/** False if there is none. */
export async function removeNbdClient(
  directory: Directory,
  clusterId: string,
  name: string,
): Promise<boolean> {
  if (nbdClientNameInvalid(name) !== undefined) return false;
  const key = directoryKeys.nbdClient(clusterId, name);
  const found = await directory.get(key);
  if (found === undefined) return false;
  const { revision } = found;
  const gone = await directory.transact([{ key, revision }], [{ kind: "delete", key }]);
  return gone.succeeded;
}

function parse({ key, value }: DirectoryRecord): NbdClientRecord {
  const fields = RecordFields.parse(key, value, FORMAT);
  const secret = fields.text("secret", 64);
  if (!PROOF_PATTERN.test(secret)) throw fields.invalid("secret", "has not 64 hexadecimal digits");
  const volumes = fields.children("volumeList", CLIENT_VOLUMES_MAX);
  return {
    name: fields.text("name", 63),
    volumes: volumes.map((one) => one.text("volume", 1024)),
    proof: fields.oneOf("proof", PROOFS),
    secret,
    createdMs: fields.integer("createdMs", 0, Number.MAX_SAFE_INTEGER),
    expiresMs: fields.integer("expiresMs", 0, Number.MAX_SAFE_INTEGER),
  };
}
