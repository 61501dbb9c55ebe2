/**
 * Wrong attempts from one address within a minute: after some of them it is not listened to for the
 * rest of it.
 */
import { isIPv6 } from "node:net";
import { CodedError } from "../../base/index.ts";
import type { Clock } from "../../ports/index.ts";

const ATTEMPTS_MAX = 20;
const SPAN_MS = 60_000;
const SOURCES_MAX = 1024;

export class Attempts {
  readonly #clock: Pick<Clock, "wallMs">;
  /** In messages: what they bring. */
  readonly #what: string;
  readonly #wrong = new Map<string, { count: number; readonly sinceMs: number }>();

  constructor(clock: Pick<Clock, "wallMs">, what: string) {
    this.#clock = clock;
    this.#what = what;
  }

  /** Fails with `too-many-attempts`. */
  check(remote: string): void {
    const wrong = this.#wrong.get(sourceOf(remote));
    if (wrong === undefined || this.#clock.wallMs() - wrong.sinceMs >= SPAN_MS) return;
    if (wrong.count < ATTEMPTS_MAX) return;
    throw new CodedError({
      code: "too-many-attempts",
      message: `${ATTEMPTS_MAX} wrong ${this.#what} came from ${remote} within a minute`,
      hint: "Wait a minute, and check the token",
    });
  }

  noteWrong(remote: string): void {
    const source = sourceOf(remote);
    const nowMs = this.#clock.wallMs();
    const wrong = this.#wrong.get(source);
    if (wrong !== undefined && nowMs - wrong.sinceMs < SPAN_MS) {
      wrong.count++;
      return;
    }
    if (this.#wrong.size >= SOURCES_MAX) this.#wrong.clear();
    this.#wrong.set(source, { count: 1, sinceMs: nowMs });
  }
}

/** Who counts as one: an IPv4 address, or the 64 leading bits of an IPv6 one. */
export function sourceOf(remote: string): string {
  if (!isIPv6(remote)) return remote;
  if (/^::ffff:[\d.]+$/i.test(remote)) return remote.slice("::ffff:".length);
  const [head = ""] = remote.split("::");
  const groups = head === "" ? [] : head.split(":");
  return [...groups, "0", "0", "0", "0"].slice(0, 4).join(":");
}
