/** What a cache refuses, and why. */
import { CodedError } from "../base/index.ts";

/** Entry numbers, slots and ghosts together, must fit into 31 bits. */
export const CACHE_CAPACITY_MAX: number = 2 ** 29;

export function checkCapacity(capacity: number, unit: "slots" | "bytes" = "slots"): void {
  if (!Number.isSafeInteger(capacity) || capacity < 1) {
    throw new CodedError({
      code: "cache-capacity-invalid",
      message: `A cache cannot have ${String(capacity)} ${unit}`,
      hint: "Give a whole number of at least 1.",
    });
  }
  if (unit === "slots" && capacity > CACHE_CAPACITY_MAX)
    throw capacityTooLarge(capacity, undefined);
}

export function capacityTooLarge(capacity: number, cause: unknown): CodedError {
  return new CodedError(
    {
      code: "cache-capacity-too-large",
      message: `There is no memory for the tables of a cache of ${String(capacity)} slots`,
      hint: `Use fewer slots: each takes about 50 bytes, and ${CACHE_CAPACITY_MAX} is the limit.`,
      details: { capacity, capacityMax: CACHE_CAPACITY_MAX },
    },
    { cause },
  );
}

export function checkHandLimit(handLimit: number): void {
  if (handLimit >= 1) return;
  throw new CodedError({
    code: "cache-hand-limit-invalid",
    message: `The hand cannot be limited to ${String(handLimit)} steps`,
    hint: "Give a number of at least 1, or leave it out.",
  });
}

export function checkKey(key: number): void {
  if (Number.isSafeInteger(key) && key >= 0) return;
  throw new CodedError({
    code: "cache-key-out-of-range",
    message: `${String(key)} cannot be a key of a page cache`,
    hint: "Use integers from 0 to 2^53 - 1.",
  });
}
