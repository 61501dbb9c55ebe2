/** JSON in ASCII, everything else escaped: any text comes back as it was, lone surrogates too. */
const PIECE_BYTES = 8192;

export function encodeAsciiJson(value: object): Uint8Array {
  const text = JSON.stringify(value).replaceAll(
    /[^\0-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return encodeAscii(text);
}

export function encodeAscii(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

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
