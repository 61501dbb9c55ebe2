/** UTF-8 for floors that have neither Node's nor the browser's text classes. Control paths only. */
import { assert } from "./assert.ts";

const SURROGATES_START = 0xd800;
const SURROGATES_END = 0xe000;
const CODE_POINT_END = 0x110000;
const PIECE_BYTES = 8192;

/** Lone surrogates become U+FFFD, so the result is always valid UTF-8. */
export function encodeUtf8(text: string): Uint8Array {
  const ascii = new Uint8Array(text.length);
  let length = 0;
  while (length < text.length && text.charCodeAt(length) < 0x80) {
    ascii[length] = text.charCodeAt(length);
    length++;
  }
  if (length === text.length) return ascii;
  const bytes: number[] = [...ascii.subarray(0, length)];
  for (const character of text.slice(length)) {
    let point = character.codePointAt(0)!;
    if (point >= SURROGATES_START && point < SURROGATES_END) point = 0xfffd;
    if (point < 0x80) bytes.push(point);
    else if (point < 0x800) bytes.push(0xc0 | (point >> 6), 0x80 | (point & 63));
    else if (point < 0x10000) {
      bytes.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63));
    } else {
      bytes.push(0xf0 | (point >> 18), 0x80 | ((point >> 12) & 63));
      bytes.push(0x80 | ((point >> 6) & 63), 0x80 | (point & 63));
    }
  }
  return Uint8Array.from(bytes);
}

/** Of bytes below 0x80. */
export function decodeAscii(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    const piece = bytes.subarray(at, at + PIECE_BYTES);
    // As an array of arguments it is not gone through by an iterator, which takes ten times as
    // long.
    text += Reflect.apply(String.fromCharCode, undefined, piece) as string;
  }
  return text;
}

/**
 * The text, or undefined if `bytes[start..end)` is not valid UTF-8 (overlong forms, surrogates, cut
 * sequences).
 */
export function decodeUtf8(
  bytes: Uint8Array,
  start = 0,
  end: number = bytes.length,
): string | undefined {
  assert(start >= 0 && start <= end && end <= bytes.length, "text range out of bounds");
  let at = start;
  while (at < end && bytes[at]! < 0x80) at++;
  let text = decodeAscii(bytes.subarray(start, at));
  while (at < end) {
    const lead = bytes[at]!;
    const length = sequenceBytes(lead);
    if (length === 0 || at + length > end) return undefined;
    let point = length === 1 ? lead : lead & (0xff >> (length + 1));
    for (let i = 1; i < length; i++) {
      const next = bytes[at + i]!;
      if ((next & 0xc0) !== 0x80) return undefined;
      point = (point << 6) | (next & 63);
    }
    if (!isEncodable(point, length)) return undefined;
    text += String.fromCodePoint(point);
    at += length;
  }
  return text;
}

/** 0 for bytes that begin no sequence. */
function sequenceBytes(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

function isEncodable(point: number, length: number): boolean {
  if (point >= CODE_POINT_END) return false;
  if (point >= SURROGATES_START && point < SURROGATES_END) return false;
  return length < 3 || point >= (length === 3 ? 0x800 : 0x10000);
}
