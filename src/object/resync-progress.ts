/** How far one component has come that is being brought to the present. */
import { assert } from "../base/index.ts";

/** Bytes of data that a component needed, and what became of them. */
export interface ResyncTraffic {
  bytesNeeded: number;
  bytesSent: number;
  bytesSkipped: number;
  /** Fingerprints and what they are of, as they went between hosts. */
  metadataBytes: number;
}

/** Of all attempts since the object's owner began with it. */
export interface ResyncState extends Readonly<ResyncTraffic> {
  /**
   * Of what its sources have, how much was looked at, in the attempt that came furthest: 0 to 1.
   */
  readonly share: number;
  /** Without what it waited between two attempts. */
  readonly elapsedMs: number;
  /** As long as it goes on as it has so far; undefined while that cannot be told. */
  readonly msLeft: number | undefined;
}

export function noTraffic(): ResyncTraffic {
  return { bytesNeeded: 0, bytesSent: 0, bytesSkipped: 0, metadataBytes: 0 };
}

/** Below this share nothing can be said about the rest. */
const SHARE_MIN = 0.01;

/**
 * Goes on over the attempts that it takes under one owner. An attempt looks at everything again:
 * what the earlier ones have sent is found there then, and counts as sent, not as skipped.
 */
export class ResyncProgress {
  readonly #total: ResyncTraffic;
  /** Of the attempt that is under way. */
  #own: ResyncTraffic = noTraffic();
  /** Of all attempts. */
  readonly #whole: ResyncTraffic = noTraffic();
  #sentBefore = 0;
  #shares: number[] = [];
  #shareBefore = 0;
  #elapsedBeforeMs = 0;
  /** Undefined between two attempts. */
  #startedMs: number | undefined;
  #hasBegun = false;

  /** What is counted is counted in `total`, too. */
  constructor(total: ResyncTraffic) {
    this.#total = total;
  }

  /** An attempt begins. */
  begin(sourceCount: number, nowMs: number): void {
    assert(sourceCount > 0, "somebody has what is missing");
    assert(this.#startedMs === undefined, "one attempt at a time");
    this.#own = noTraffic();
    this.#sentBefore = this.#whole.bytesSent;
    this.#shares = Array.from({ length: sourceCount }, () => 0);
    this.#startedMs = nowMs;
    this.#hasBegun = true;
  }

  /** It has come to its end, whatever that is. */
  end(nowMs: number): void {
    if (this.#startedMs === undefined) return;
    this.#shareBefore = this.#share;
    this.#elapsedBeforeMs += nowMs - this.#startedMs;
    this.#startedMs = undefined;
  }

  count(kind: keyof ResyncTraffic, bytes: number): void {
    this.#own[kind] += bytes;
    const known = this.#whole[kind];
    this.#whole[kind] = this.#countedOnce(kind, known, bytes);
    this.#total[kind] += this.#whole[kind] - known;
  }

  #countedOnce(kind: keyof ResyncTraffic, known: number, bytes: number): number {
    if (kind === "bytesNeeded") return Math.max(known, this.#own.bytesNeeded);
    if (kind === "bytesSkipped") return Math.max(known, this.#own.bytesSkipped - this.#sentBefore);
    return known + bytes;
  }

  walked(source: number, share: number): void {
    this.#shares[source] = share;
  }

  get #share(): number {
    if (this.#startedMs === undefined) return this.#shareBefore;
    const share = this.#shares.reduce((sum, one) => sum + one, 0) / this.#shares.length;
    return Math.max(this.#shareBefore, share);
  }

  /** Undefined before anything has begun. */
  at(nowMs: number): ResyncState | undefined {
    if (!this.#hasBegun) return undefined;
    const share = this.#share;
    const sinceMs = this.#startedMs === undefined ? 0 : nowMs - this.#startedMs;
    const elapsedMs = this.#elapsedBeforeMs + sinceMs;
    const msLeft = share < SHARE_MIN ? undefined : (elapsedMs * (1 - share)) / share;
    return { ...this.#whole, share, elapsedMs, msLeft };
  }
}
