/** JSON in ASCII, everything else escaped: any text comes back as it was, lone surrogates too. */
import { assertDefined } from "../base/index.ts";

/** `headBytes` are left free in front of it. */
export function encodeAsciiJson(value: object, headBytes = 0): Uint8Array {
  const text = JSON.stringify(value);
  const bytes = asciiOf(text, headBytes);
  if (bytes !== undefined) return bytes;
  const escaped = text.replaceAll(
    /[^\0-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return assertDefined(asciiOf(escaped, headBytes), "all else is escaped");
}

export function encodeAscii(text: string): Uint8Array {
  return assertDefined(asciiOf(text, 0), "the text is ASCII");
}

/** Undefined if not all of it is ASCII. */
function asciiOf(text: string, headBytes: number): Uint8Array | undefined {
  const bytes = new Uint8Array(headBytes + text.length);
  let all = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    all |= unit;
    bytes[headBytes + i] = unit;
  }
  return all < 0x80 ? bytes : undefined;
}
