import { CodedError, getU32 } from "../../base/index.ts";

/**
 * What a front end or its guest did that the protocol forbids. It ends the connection of that
 * client, and harms nobody else.
 */
export class VhostViolation extends CodedError {
  override readonly name = "VhostViolation";

  constructor(message: string) {
    super({ code: "vhost-violation", message });
  }
}

export function demand(condition: boolean, message: string): asserts condition {
  if (!condition) throw new VhostViolation(message);
}

/**
 * Exact below 2^53, else rounded: such a value is beyond everything that it could be compared to.
 */
export function wireU64(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) + getU32(bytes, at + 4) * 2 ** 32;
}

/** Takes every step, also after one that failed; throws what failed first. */
export function everyStep(steps: readonly (() => void)[]): void {
  const faults: unknown[] = [];
  for (const step of steps) {
    try {
      step();
    } catch (error) {
      faults.push(error);
    }
  }
  if (faults.length > 0) throw faults[0];
}
