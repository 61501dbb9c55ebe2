/** JSON from another host: undefined or a plain fault instead of an exception. */
import type { Fault } from "../base/index.ts";

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
      return { code, message, ...(typeof hint === "string" ? { hint } : {}) };
  }
  return { code: "internal", message: "the other host answered with an error that cannot be read" };
}
