/**
 * The few shapes of DER (ITU-T X.690) that a certificate is written with. Nothing is read here:
 * what others send is taken apart by OpenSSL alone.
 */
import { assert } from "../../base/index.ts";

const LENGTH_MAX = 0xffff;

/** A value of any type: tag, length, content. */
export function derValue(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  assert(content.length <= LENGTH_MAX, "a part of a certificate has at most 65535 bytes");
  const { length } = content;
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

export function derSequence(...parts: readonly Uint8Array[]): Buffer {
  return derValue(0x30, ...parts);
}

export function derSet(...parts: readonly Uint8Array[]): Buffer {
  return derValue(0x31, ...parts);
}

/** `[number]`, which holds other values. */
export function derTagged(number: number, ...parts: readonly Uint8Array[]): Buffer {
  return derValue(0xa0 + number, ...parts);
}

/** A number of 0 or more, from its bytes, the highest first. */
export function derInteger(bytes: Uint8Array): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = first < 0 ? Buffer.from([0]) : bytes.subarray(first);
  // A set highest bit would make it negative.
  return derValue(0x02, Buffer.from(digits[0]! >= 0x80 ? [0] : []), digits);
}

export function derBoolean(value: boolean): Buffer {
  return derValue(0x01, Buffer.from([value ? 0xff : 0]));
}

/** From its text, such as "2.5.29.17". */
export function derObjectId(text: string): Buffer {
  const [first, second, ...rest] = text.split(".").map(Number);
  assert(first !== undefined && second !== undefined, "an object identifier has two parts or more");
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift(0x80 | (left & 0x7f));
    bytes.push(...groups);
  }
  return derValue(0x06, Buffer.from(bytes));
}

export function derText(text: string): Buffer {
  return derValue(0x0c, Buffer.from(text, "utf8"));
}

export function derOctets(...parts: readonly Uint8Array[]): Buffer {
  return derValue(0x04, ...parts);
}

/** `unusedBits` of the last byte do not count. */
export function derBits(bytes: Uint8Array, unusedBits = 0): Buffer {
  return derValue(0x03, Buffer.from([unusedBits]), bytes);
}

/** RFC 5280, 4.1.2.5: two digits for the year until 2049, four from then on. */
export function derTime(timeMs: number): Buffer {
  const text = `${new Date(timeMs).toISOString().slice(0, 19).replace(/[-:T]/g, "")}Z`;
  const isLate = new Date(timeMs).getUTCFullYear() >= 2050;
  return isLate
    ? derValue(0x18, Buffer.from(text, "ascii"))
    : derValue(0x17, Buffer.from(text.slice(2), "ascii"));
}
