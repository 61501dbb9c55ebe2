/**
 * The data of options, read with every length checked against what is there. Undefined: malformed.
 */
import { decodeUtf8 } from "../../base/index.ts";
import { getU16, getU32 } from "./big-endian.ts";
import { META_QUERIES_MAX, STRING_BYTES_MAX } from "./wire.ts";

export interface InfoRequest {
  readonly name: string;
  readonly infos: ReadonlySet<number>;
}

export interface MetaContextRequest {
  readonly name: string;
  readonly queries: readonly string[];
}

/** INFO and GO: name, then the kinds of information asked for. */
export function parseInfoRequest(data: Uint8Array): InfoRequest | undefined {
  const reader = new Reader(data);
  const name = reader.string();
  const count = reader.u16();
  if (name === undefined || count === undefined || reader.leftBytes !== 2 * count) return undefined;
  const infos = new Set<number>();
  for (let i = 0; i < count; i++) infos.add(reader.u16()!);
  return { name, infos };
}

/** LIST_META_CONTEXT and SET_META_CONTEXT: name, then queries. */
export function parseMetaContextRequest(data: Uint8Array): MetaContextRequest | undefined {
  const reader = new Reader(data);
  const name = reader.string();
  const count = reader.u32();
  if (name === undefined || count === undefined || count > META_QUERIES_MAX) return undefined;
  const queries: string[] = [];
  for (let i = 0; i < count; i++) {
    const query = reader.string();
    if (query === undefined) return undefined;
    queries.push(query);
  }
  return reader.leftBytes === 0 ? { name, queries } : undefined;
}

/** The whole data as a name. */
export function parseName(data: Uint8Array): string | undefined {
  return data.length > STRING_BYTES_MAX ? undefined : decodeUtf8(data);
}

class Reader {
  readonly #data: Uint8Array;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  get leftBytes(): number {
    return this.#data.length - this.#at;
  }

  u16(): number | undefined {
    if (this.leftBytes < 2) return undefined;
    this.#at += 2;
    return getU16(this.#data, this.#at - 2);
  }

  u32(): number | undefined {
    if (this.leftBytes < 4) return undefined;
    this.#at += 4;
    return getU32(this.#data, this.#at - 4);
  }

  /** A string after its 32-bit length. */
  string(): string | undefined {
    const length = this.u32();
    if (length === undefined || length > STRING_BYTES_MAX || length > this.leftBytes) {
      return undefined;
    }
    this.#at += length;
    return decodeUtf8(this.#data, this.#at - length, this.#at);
  }
}
