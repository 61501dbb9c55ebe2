/**
 * Tokens with which people and programs use the API. The directory keeps the SHA-256 of each secret
 * only, so that who reads it cannot use them.
 */
import { CodedError } from "../base/index.ts";
import type { Directory, DirectoryRecord } from "../ports/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { RecordFields } from "./record-fields.ts";

const FORMAT = 1;
const TOKENS_MAX = 1000;
export const SCOPES_MAX = 32;
const ID_PATTERN = /^[0-9a-f]{16}$/;

/** Each may do what those before it may. */
export const ACCESS_ROLES = ["viewer", "operator", "admin"] as const;
export type AccessRole = (typeof ACCESS_ROLES)[number];

export interface AccessToken {
  /** 16 hexadecimal digits. */
  readonly id: string;
  /** Whose it is, for people. */
  readonly name: string;
  readonly role: AccessRole;
  /** Groups of operations; none: all of them. */
  readonly scopes: readonly string[];
  /** SHA-256 of the secret, in hexadecimal digits. */
  readonly hash: string;
  readonly createdMs: number;
  readonly expiresMs: number;
}

/** Fails with `too-many-tokens`. Those that have expired make room. */
export async function createAccessToken(
  directory: Directory,
  clusterId: string,
  token: AccessToken,
): Promise<void> {
  const { records } = await directory.list(directoryKeys.accessTokens(clusterId));
  const old = records.filter((record) => parse(record).expiresMs < token.createdMs);
  for (const { key, revision } of old)
    await directory.transact([{ key, revision }], [{ kind: "delete", key }]);
  if (records.length - old.length >= TOKENS_MAX)
    throw new CodedError({
      code: "too-many-tokens",
      message: `there are ${TOKENS_MAX} tokens already`,
      hint: "drystone access list shows them; drystone access revoke takes one back",
    });
  const key = directoryKeys.accessToken(clusterId, token.id);
  const { scopes, ...rest } = token;
  const scopeList = scopes.map((scope) => ({ scope }));
  const value = JSON.stringify({ format: FORMAT, ...rest, scopeList });
  await directory.transact([{ key, revision: 0 }], [{ kind: "put", key, value }]);
}

export async function listAccessTokens(
  directory: Directory,
  clusterId: string,
): Promise<readonly AccessToken[]> {
  const { records } = await directory.list(directoryKeys.accessTokens(clusterId));
  return records.map(parse);
}

/** Undefined if there is none, or if that is no id of one. */
export async function findAccessToken(
  directory: Directory,
  clusterId: string,
  id: string,
): Promise<AccessToken | undefined> {
  if (!ID_PATTERN.test(id)) return undefined;
  const record = await directory.get(directoryKeys.accessToken(clusterId, id));
  return record && parse(record);
}

/** False if there is none. */
export async function removeAccessToken(
  directory: Directory,
  clusterId: string,
  id: string,
): Promise<boolean> {
  if ((await findAccessToken(directory, clusterId, id)) === undefined) return false;
  const key = directoryKeys.accessToken(clusterId, id);
  await directory.transact([], [{ kind: "delete", key }]);
  return true;
}

function parse({ key, value }: DirectoryRecord): AccessToken {
  const fields = RecordFields.parse(key, value, FORMAT);
  return {
    id: fields.text("id", 16),
    name: fields.text("name", 128),
    role: fields.oneOf("role", ACCESS_ROLES),
    scopes: fields.children("scopeList", SCOPES_MAX).map((one) => one.text("scope", 64)),
    hash: fields.text("hash", 64),
    createdMs: fields.integer("createdMs", 0, Number.MAX_SAFE_INTEGER),
    expiresMs: fields.integer("expiresMs", 0, Number.MAX_SAFE_INTEGER),
  };
}
