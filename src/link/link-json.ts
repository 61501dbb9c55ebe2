/** JSON from another host: undefined or a plain fault instead of an exception. */
import { decodeUtf8, getU32, setU32 } from "../base/index.ts";
import type { Fault } from "../base/index.ts";

/** Of what other hosts say in words: it is quoted in messages, logs and the API. */
const WORDS_LENGTH_MAX = 4096;
/** Of the length before a text. */
const LENGTH_BYTES = 4;

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** What another host says went wrong; text that is no fault becomes one. */
export function parseFault(text: string): Fault {
  const said = parseJson(text);
  if (typeof said === "object" && said !== null && "code" in said && "message" in said) {
    const { code, message } = said;
    const hint = "hint" in said ? said.hint : undefined;
    if (typeof code === "string" && typeof message === "string")
      return {
        code: quoted(code),
        message: quoted(message),
        ...(typeof hint === "string" ? { hint: quoted(hint) } : {}),
      };
  }
  return { code: "internal", message: "the other host answered with an error that cannot be read" };
}

function quoted(words: string): string {
  return words.length <= WORDS_LENGTH_MAX ? words : `${words.slice(0, WORDS_LENGTH_MAX)}…`;
}

/** JSON with its length before it, and bytes behind it. */
export function splitBody(
  bytes: Uint8Array,
  start: number,
  end: number,
): { readonly text: string; readonly payload: Uint8Array } | undefined {
  if (end - start < LENGTH_BYTES) return undefined;
  const length = getU32(bytes, start);
  const at = start + LENGTH_BYTES;
  if (length > end - at) return undefined;
  const text = decodeUtf8(bytes, at, at + length);
  if (text === undefined) return undefined;
  return { text, payload: bytes.subarray(at + length, end) };
}

/** As `splitBody` reads it; what is alone has no length before it. */
export function writeBody(
  room: { readonly bytes: Uint8Array; readonly at: number },
  text: Uint8Array,
  payload: readonly Uint8Array[],
  isAlone: boolean,
): void {
  if (!isAlone) setU32(room.bytes, room.at, text.length);
  let { at } = room;
  if (!isAlone) at += LENGTH_BYTES;
  for (const part of [text, ...payload]) {
    room.bytes.set(part, at);
    at += part.length;
  }
}

export function bodyBytes(
  text: Uint8Array,
  payload: readonly Uint8Array[],
  isAlone: boolean,
): number {
  return (isAlone ? 0 : LENGTH_BYTES) + text.length + lengthOf(payload);
}

export function lengthOf(payload: readonly Uint8Array[]): number {
  return payload.reduce((sum, { length }) => sum + length, 0);
}

export interface SaidCall {
  readonly method: string;
  readonly argument: unknown;
  readonly payload: Uint8Array;
}

/** What a call says, its payload where it is; a text that says why it cannot be read. */
export function parseCall(bytes: Uint8Array, start: number, end: number): SaidCall | string {
  const parts = splitBody(bytes, start, end);
  const said = parts && parseJson(parts.text);
  if (parts === undefined || typeof said !== "object" || said === null || !("method" in said))
    return "a call that cannot be read";
  const { method } = said;
  if (typeof method !== "string") return "a call without a method";
  const argument = "argument" in said ? said.argument : undefined;
  return { method, argument, payload: parts.payload };
}
