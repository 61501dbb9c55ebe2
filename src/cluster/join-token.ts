/**
 * Tokens with which hosts join: each is good for one host and a short time. The directory keeps the
 * SHA-256 of the secret only, so that who reads it cannot join.
 */
import { CodedError } from "../base/index.ts";
import type { Directory } from "../ports/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { RecordFields } from "./record-fields.ts";

const FORMAT = 1;
const TOKENS_MAX = 256;
/** For so long it is said that a token was used or has expired, and not that there is none. */
const REMEMBERED_MS = 24 * 3600 * 1000;
const HINT = "On a host of the cluster, drystone token create makes another one";

interface JoinToken {
  readonly createdMs: number;
  readonly expiresMs: number;
  /** The host that has joined with it, or empty. */
  readonly usedBy: string;
}

/** `hash` is the secret's, in hexadecimal digits. Fails with `too-many-tokens`. */
export async function createJoinToken(
  directory: Directory,
  clusterId: string,
  hash: string,
  { nowMs, ttlMs }: { readonly nowMs: number; readonly ttlMs: number },
): Promise<void> {
  const { records } = await directory.list(directoryKeys.joinTokens(clusterId));
  const isOld = (value: string, key: string): boolean =>
    parse(key, value).expiresMs + REMEMBERED_MS < nowMs;
  const old = records.filter(({ key, value }) => isOld(value, key));
  for (const { key, revision } of old)
    await directory.transact([{ key, revision }], [{ kind: "delete", key }]);
  if (records.length - old.length >= TOKENS_MAX)
    throw new CodedError({
      code: "too-many-tokens",
      message: `there are ${TOKENS_MAX} tokens of the last day already`,
      hint: "Use one of them, or wait until they are forgotten",
    });
  const key = directoryKeys.joinToken(clusterId, hash);
  const value = textOf({ createdMs: nowMs, expiresMs: nowMs + ttlMs, usedBy: "" });
  await directory.transact([{ key, revision: 0 }], [{ kind: "put", key, value }]);
}

/**
 * Resolves for one caller of each token, once. Fails with `token-unknown`, `token-used` or
 * `token-expired`; nothing has happened then.
 */
export async function useJoinToken(
  directory: Directory,
  clusterId: string,
  hash: string,
  { nowMs, hostId }: { readonly nowMs: number; readonly hostId: string },
): Promise<void> {
  const { token, revision } = await findUsable(directory, clusterId, hash, nowMs);
  const key = directoryKeys.joinToken(clusterId, hash);
  const value = textOf({ ...token, usedBy: hostId });
  const outcome = await directory.transact([{ key, revision }], [{ kind: "put", key, value }]);
  if (!outcome.succeeded) throw used("another one at the same moment");
}

/** As `useJoinToken` would fail, without using it. */
export async function checkJoinToken(
  directory: Directory,
  clusterId: string,
  hash: string,
  nowMs: number,
): Promise<void> {
  await findUsable(directory, clusterId, hash, nowMs);
}

async function findUsable(
  directory: Directory,
  clusterId: string,
  hash: string,
  nowMs: number,
): Promise<{ readonly token: JoinToken; readonly revision: number }> {
  const key = directoryKeys.joinToken(clusterId, hash);
  const found = await directory.get(key);
  if (found === undefined) throw refused("token-unknown", "the cluster has not made this token");
  const token = parse(key, found.value);
  if (token.usedBy !== "") throw used(token.usedBy);
  if (nowMs >= token.expiresMs)
    throw refused("token-expired", `the token has expired ${ageText(nowMs - token.expiresMs)} ago`);
  return { token, revision: found.revision };
}

function parse(key: string, value: string): JoinToken {
  const fields = RecordFields.parse(key, value, FORMAT);
  return {
    createdMs: fields.integer("createdMs", 0, Number.MAX_SAFE_INTEGER),
    expiresMs: fields.integer("expiresMs", 0, Number.MAX_SAFE_INTEGER),
    usedBy: fields.anyText("usedBy"),
  };
}

function textOf(token: JoinToken): string {
  return JSON.stringify({ format: FORMAT, ...token });
}

function used(by: string): CodedError {
  return refused("token-used", `the token was used already, by host ${by}`);
}

function refused(code: string, message: string): CodedError {
  return new CodedError({ code, message, hint: HINT });
}

function ageText(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  return minutes === 0 ? "less than a minute" : `${minutes} minutes`;
}
