/**
 * Control characters, and what changes the direction of text or ends lines: a terminal obeys them,
 * and lines that were never printed appear.
 */
const CONTROLS = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** The text with its control characters as `\x1b` or `\u202e`; those in `kept` stay. */
export function escapeControls(text: string, kept: string = ""): string {
  return text.replace(CONTROLS, (character) => {
    if (kept.includes(character)) return character;
    const code = character.charCodeAt(0);
    return code < 256
      ? `\\x${code.toString(16).padStart(2, "0")}`
      : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

/** All texts within the value, as `escapeControls` has them; names of fields, too. */
export function escapeAll<T>(value: T, kept?: string): T;
export function escapeAll(value: unknown, kept: string = ""): unknown {
  if (typeof value === "string") return escapeControls(value, kept);
  if (Array.isArray(value)) return value.map((one: unknown) => escapeAll(one, kept));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]: [string, unknown]) => {
      return [escapeControls(key), escapeAll(one, kept)];
    }),
  );
}
