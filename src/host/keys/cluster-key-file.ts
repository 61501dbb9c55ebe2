/**
 * The file with the cluster key, on each host that may serve encrypted volumes: 64 hexadecimal
 * digits on a line, and while the key is being changed the next one on another line. It belongs on
 * other media than the devices, since whoever has both can read them.
 */
import { randomBytes } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { CodedError, errorText } from "../../base/index.ts";
import { writeDurably } from "../durable-file.ts";
import { keyIdOf } from "./sealed-key.ts";
import { systemErrorCode } from "../system-error.ts";

const KEY_BYTES = 32;
const KEYS_MAX = 8;
const TEXT_LENGTH_MAX = 4096;
const KEY_LINE = /^[0-9a-f]{64}$/;

/** By their ids. */
export type ClusterKeys = ReadonlyMap<string, Uint8Array>;

export function newClusterKey(): Uint8Array {
  return randomBytes(KEY_BYTES);
}

/** Fails with `cluster-key-missing` or `cluster-key-invalid`. */
export function readClusterKeys(path: string): ClusterKeys {
  let text: string;
  try {
    if ((statSync(path).mode & 0o077) !== 0)
      throw invalid(path, "others than its owner may read it", `chmod 600 ${path}`);
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof CodedError) throw error;
    if (systemErrorCode(error) === "ENOENT") throw missing(path);
    throw invalid(path, errorText(error));
  }
  return parseClusterKeys(text, path);
}

/** Fails with `cluster-key-invalid`, and names the file. */
export function parseClusterKeys(text: string, path: string): ClusterKeys {
  if (text.length > TEXT_LENGTH_MAX) throw invalid(path, "it is too long");
  const lines = text
    .split("\n")
    .map((line) => line.trim().toLowerCase())
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (lines.length === 0 || lines.length > KEYS_MAX || !lines.every((line) => KEY_LINE.test(line)))
    throw invalid(path, "it does not have a key of 64 hexadecimal digits on each line");
  const keys = lines.map((line) => new Uint8Array(Buffer.from(line, "hex")));
  return new Map(keys.map((key) => [keyIdOf(key), key]));
}

/** The first key of a cluster. Fails as `writeClusterKeys`. */
export function makeClusterKey(path: string): void {
  const key = newClusterKey();
  writeClusterKeys(path, new Map([[keyIdOf(key), key]]));
}

/** Fails with `state-unwritable` or `no-space`. */
export function writeClusterKeys(path: string, keys: ClusterKeys): void {
  writeDurably(dirname(path), basename(path), clusterKeyText(keys.values()));
}

/** Why there is no key that can be used, as far as the file tells. */
export function keyReasonAgainst(path: string): string | undefined {
  try {
    readClusterKeys(path);
    return undefined;
  } catch (error) {
    if (error instanceof CodedError) return error.message;
    throw error;
  }
}

/** Undefined where there is no key that can be used. */
export function clusterKeyTextIn(path: string): string | undefined {
  try {
    return clusterKeyText(readClusterKeys(path).values());
  } catch (error) {
    if (error instanceof CodedError) return undefined;
    throw error;
  }
}

function clusterKeyText(keys: Iterable<Uint8Array>): string {
  const lines = [...keys].map((key) => `${Buffer.from(key).toString("hex")}\n`);
  return `# The cluster key of Drystone. Keep a copy in a safe place, and not on these disks.\n${lines.join("")}`;
}

function missing(path: string): CodedError {
  return new CodedError({
    code: "cluster-key-missing",
    message: `this host does not have the cluster key: there is no ${path}`,
    hint: "Copy it from a host that has it, or make the first one: docs/operating/encryption.md",
  });
}

function invalid(path: string, reason: string, hint?: string): CodedError {
  return new CodedError({
    code: "cluster-key-invalid",
    message: `the cluster key in ${path} cannot be used: ${reason}`,
    hint: hint ?? "Copy the file from a host that has it",
  });
}
