/**
 * Byte layouts declared once, as data: offsets, sizes, the tables in docs/formats and the golden
 * bytes of the tests all come from the same declaration. Integers are little-endian.
 */
import { assert } from "../base/index.ts";

export interface Field {
  readonly kind: "u8" | "u16" | "u32" | "u40" | "u48" | "u64" | "bytes" | "zeroes";
  readonly sizeBytes: number;
  readonly meaning: string;
}

const field =
  (kind: Field["kind"], sizeBytes: number) =>
  (meaning: string): Field => ({ kind, sizeBytes, meaning });

export const u8: (meaning: string) => Field = field("u8", 1);
export const u16: (meaning: string) => Field = field("u16", 2);
export const u32: (meaning: string) => Field = field("u32", 4);
export const u40: (meaning: string) => Field = field("u40", 5);
export const u48: (meaning: string) => Field = field("u48", 6);
export const u64: (meaning: string) => Field = field("u64", 8);
export const bytes = (sizeBytes: number, meaning: string): Field => ({
  kind: "bytes",
  sizeBytes,
  meaning,
});
/**
 * Reserved: written as zero, and checked to be zero, so that a later version may give it a meaning.
 */
export const zeroes = (sizeBytes: number): Field => ({
  kind: "zeroes",
  sizeBytes,
  meaning: "reserved, zero",
});

export interface Layout<Name extends string> {
  readonly name: string;
  readonly title: string;
  readonly sizeBytes: number;
  /** Byte offset of each field. */
  readonly at: Readonly<Record<Name, number>>;
  readonly fields: Readonly<Record<Name, Field>>;
}

/** Asserts that the fields fill exactly `sizeBytes`. */
export function layout<Name extends string>(
  name: string,
  title: string,
  sizeBytes: number,
  fields: Readonly<Record<Name, Field>>,
): Layout<Name> {
  const at: Partial<Record<Name, number>> = {};
  let offset = 0;
  for (const [fieldName, { sizeBytes: fieldBytes }] of Object.entries<Field>(fields)) {
    at[fieldName as Name] = offset;
    offset += fieldBytes;
  }
  assert(offset === sizeBytes, `layout ${name}: fields fill ${offset} of ${sizeBytes} bytes`);
  return Object.freeze({ name, title, sizeBytes, at: at as Record<Name, number>, fields });
}

/** Whether every reserved field of a structure at `start` is zero. */
export function reservedIsZero(of: Layout<string>, source: Uint8Array, start: number): boolean {
  for (const [name, { kind, sizeBytes }] of Object.entries(of.fields)) {
    if (kind !== "zeroes") continue;
    const from = start + of.at[name]!;
    for (let i = from; i < from + sizeBytes; i++) if (source[i] !== 0) return false;
  }
  return true;
}
