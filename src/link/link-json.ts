/** JSON from another host: undefined or a plain fault instead of an exception. */
import { decodeUtf8, getU32 } from "../base/index.ts";
import type { Fault } from "../base/index.ts";

/** Of what other hosts say in words: it is quoted in messages, logs and the API. */
const WORDS_LENGTH_MAX = 4096;

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
  if (end - start < 4) return undefined;
  const length = getU32(bytes, start);
  if (length > end - start - 4) return undefined;
  const text = decodeUtf8(bytes, start + 4, start + 4 + length);
  if (text === undefined) return undefined;
  return { text, payload: bytes.subarray(start + 4 + length, end) };
}
