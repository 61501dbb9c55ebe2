/**
 * A host that fails lets go of its machines and of its volumes when its two leases end, up to a
 * lease's life apart. A machine that is placed anew in between waits for its volumes: that they are
 * not free yet is no failed start.
 */
import { CodedError } from "../base/index.ts";
import { LEASE_TTL_LONG_MS } from "../plane/index.ts";
import type { Clock } from "../ports/index.ts";

const AGAIN_MS = 100;
const HELD: readonly string[] = ["volume-in-use", "volume-attached"];

/** Fails as `attach` does, with what says that it is held only once no lease can hold it. */
export async function attachOnceFree<T>(clock: Clock, attach: () => Promise<T>): Promise<T> {
  const endMs = clock.nowMs() + LEASE_TTL_LONG_MS;
  for (;;) {
    try {
      return await attach();
    } catch (error) {
      const isHeld = error instanceof CodedError && HELD.includes(error.code);
      if (!isHeld || clock.nowMs() >= endMs) throw error;
    }
    await new Promise<void>((resolve) => void clock.after(AGAIN_MS, resolve));
  }
}
