/**
 * etcd's JSON: numbers of 64 bits are texts, keys and values are base64, and what is zero or empty
 * is left out. Everything that arrives is checked before it is used.
 */
import { Buffer } from "node:buffer";
import type { DirectoryRecord } from "../../ports/index.ts";

/** No answer that can be used. `isSent` is false if etcd cannot have seen the request. */
export class EtcdSilence extends Error {
  override readonly name = "EtcdSilence";
  readonly isSent: boolean;

  constructor(message: string, isSent: boolean) {
    super(message);
    this.isSent = isSent;
  }
}

/** The codes of gRPC that are used (google.rpc.Code). */
export const GRPC = {
  invalidArgument: 3,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  outOfRange: 11,
  unimplemented: 12,
  unauthenticated: 16,
} as const;

const FINAL: ReadonlySet<number> = new Set(
  Object.values(GRPC).filter((code) => code !== GRPC.resourceExhausted),
);

/** etcd has answered that it does not do it. */
export class EtcdRefusal extends Error {
  override readonly name = "EtcdRefusal";
  readonly grpcCode: number;

  constructor(grpcCode: number, message: string) {
    super(message);
    this.grpcCode = grpcCode;
  }

  /**
   * Whether nothing has been done and trying again is of no use. Others (time-outs, a leader that
   * changes, a member that stops) say nothing about whether the request was applied. Even "no
   * space" does not: the write that crosses the quota is applied and answered with that error.
   */
  get isFinal(): boolean {
    return FINAL.has(this.grpcCode);
  }

  get isNoSpace(): boolean {
    return this.grpcCode === GRPC.resourceExhausted && this.message.includes("space exceeded");
  }

  /** The token was forgotten (restarts) or is from before a change of users or roles. */
  get isTokenInvalid(): boolean {
    if (this.grpcCode === GRPC.unauthenticated) return true;
    return /revision of auth store is old|user name is empty/.test(this.message);
  }
}

export function encodeText(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}

/** The end of the range of all keys with this prefix (etcd's "\0" means: to the end). */
export function prefixEnd(prefix: string): string {
  const bytes = Buffer.from(prefix, "utf8");
  for (let at = bytes.length - 1; at >= 0; at--) {
    if (bytes[at] === 0xff) continue;
    bytes[at]!++;
    return bytes.subarray(0, at + 1).toString("base64");
  }
  return "AA==";
}

/** All keys with a prefix. etcd wants one zero byte for "from the first key on". */
export function prefixRange(prefix: string): { readonly key: string; readonly range_end: string } {
  return { key: prefix === "" ? "AA==" : encodeText(prefix), range_end: prefixEnd(prefix) };
}

/** An object of an answer, with typed access. What does not fit throws `EtcdSilence`. */
export class EtcdFields {
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(value: unknown) {
    if (!isRecord(value)) throw strange("no object");
    this.#fields = value;
  }

  static parse(text: string): EtcdFields {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw strange(`no JSON: ${text.slice(0, 80)}`);
    }
    return new EtcdFields(value);
  }

  has(name: string): boolean {
    return this.#fields[name] !== undefined && this.#fields[name] !== null;
  }

  flag(name: string): boolean {
    return this.#fields[name] === true;
  }

  /** As it is; empty if it is left out. */
  text(name: string): string {
    const value = this.#fields[name] ?? "";
    if (typeof value !== "string") throw strange(`${name} is no text`);
    return value;
  }

  /** Of 64 bits in etcd, all of which JavaScript must be able to hold. */
  integer(name: string): number {
    const value = this.#fields[name] ?? 0;
    const number = typeof value === "string" && value !== "" ? Number(value) : value;
    if (typeof number !== "number" || !Number.isSafeInteger(number))
      throw strange(`${name} is no integer`);
    return number;
  }

  bytesAsText(name: string): string {
    return Buffer.from(this.text(name), "base64").toString("utf8");
  }

  texts(name: string): string[] {
    const value = this.#fields[name] ?? [];
    if (!Array.isArray(value)) throw strange(`${name} is no list`);
    return value.map((item: unknown) => {
      if (typeof item !== "string") throw strange(`${name} has something that is no text`);
      return item;
    });
  }

  child(name: string): EtcdFields {
    return new EtcdFields(this.#fields[name] ?? {});
  }

  children(name: string): EtcdFields[] {
    const value = this.#fields[name] ?? [];
    if (!Array.isArray(value)) throw strange(`${name} is no list`);
    return value.map((item: unknown) => new EtcdFields(item));
  }
}

export function recordOf(kv: EtcdFields): DirectoryRecord {
  return {
    key: kv.bytesAsText("key"),
    value: kv.bytesAsText("value"),
    revision: kv.integer("mod_revision"),
  };
}

/** Of the store when it answered; of the transaction if it wrote something. */
export function revisionOf(answer: EtcdFields): number {
  const revision = answer.child("header").integer("revision");
  if (revision > 0) return revision;
  throw strange("no revision");
}

function strange(what: string): EtcdSilence {
  return new EtcdSilence(`an answer that etcd does not give: ${what}`, true);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
