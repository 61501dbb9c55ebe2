/**
 * What hosts of other versions of Drystone say about themselves: what an older one does not know
 * yet counts as nothing, and what a newer one tells besides is passed on.
 */
import { isRecord } from "../api/shape.ts";

/** `said`, with what is missing in it, as `like` has it, as empty as can be. */
export function completed<T extends object>(said: unknown, like: T): T {
  const fields = isRecord(said) ? said : {};
  const whole: Record<string, unknown> = { ...fields };
  for (const [name, own] of Object.entries(like) as [string, unknown][]) {
    const found = fields[name];
    if (found === undefined || found === null) whole[name] = nothingLike(own);
    else if (isRecord(own)) whole[name] = completed(found, own);
  }
  return whole as T;
}

function nothingLike(value: unknown): unknown {
  if (Array.isArray(value)) return [];
  if (isRecord(value)) return completed({}, value);
  return typeof value === "number" ? 0 : undefined;
}
