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

export interface ResyncState extends Readonly<ResyncTraffic> {
  /** Of what its sources have, how much was looked at: 0 to 1. */
  readonly share: number;
  readonly elapsedMs: number;
  /** As long as it goes on as it has so far; undefined while that cannot be told. */
  readonly msLeft: number | undefined;
}

export function noTraffic(): ResyncTraffic {
  return { bytesNeeded: 0, bytesSent: 0, bytesSkipped: 0, metadataBytes: 0 };
}

/** Below this share nothing can be said about the rest. */
const SHARE_MIN = 0.01;

export class ResyncProgress {
  readonly #total: ResyncTraffic;
  readonly #own: ResyncTraffic = noTraffic();
  readonly #shares: number[];
  readonly #startedMs: number;

  /** What is counted is counted in `total`, too. */
  constructor(total: ResyncTraffic, sourceCount: number, nowMs: number) {
    assert(sourceCount > 0, "somebody has what is missing");
    this.#total = total;
    this.#shares = Array.from({ length: sourceCount }, () => 0);
    this.#startedMs = nowMs;
  }

  count(kind: keyof ResyncTraffic, bytes: number): void {
    this.#total[kind] += bytes;
    this.#own[kind] += bytes;
  }

  walked(source: number, share: number): void {
    this.#shares[source] = share;
  }

  at(nowMs: number): ResyncState {
    const share = this.#shares.reduce((sum, one) => sum + one, 0) / this.#shares.length;
    const elapsedMs = nowMs - this.#startedMs;
    const msLeft = share < SHARE_MIN ? undefined : (elapsedMs * (1 - share)) / share;
    return { ...this.#own, share, elapsedMs, msLeft };
  }
}
