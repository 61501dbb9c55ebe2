import { assert } from "../../base/index.ts";

/** Requests of one connection that are not answered yet. More are left in the socket. */
export const REQUESTS_IN_FLIGHT_MAX = 256;

/** What is remembered about each request, in arrays by slot: nothing is allocated per request. */
export class RequestSlots {
  readonly command: Uint8Array = new Uint8Array(REQUESTS_IN_FLIGHT_MAX);
  readonly dontFragment: Uint8Array = new Uint8Array(REQUESTS_IN_FLIGHT_MAX);
  readonly cookieHigh: Uint32Array = new Uint32Array(REQUESTS_IN_FLIGHT_MAX);
  readonly cookieLow: Uint32Array = new Uint32Array(REQUESTS_IN_FLIGHT_MAX);
  readonly lengthBytes: Uint32Array = new Uint32Array(REQUESTS_IN_FLIGHT_MAX);
  readonly offset: Float64Array = new Float64Array(REQUESTS_IN_FLIGHT_MAX);
  /** Block of read memory, or -1. */
  readonly page: Int16Array = new Int16Array(REQUESTS_IN_FLIGHT_MAX);
  /** Parts under way: volume requests, and a write's payload that has not arrived whole. */
  readonly parts: Uint16Array = new Uint16Array(REQUESTS_IN_FLIGHT_MAX);
  /** The first error of any part. */
  readonly errno: Uint8Array = new Uint8Array(REQUESTS_IN_FLIGHT_MAX);
  readonly #free = new Uint16Array(REQUESTS_IN_FLIGHT_MAX);
  #freeCount = 0;

  constructor() {
    for (let slot = REQUESTS_IN_FLIGHT_MAX - 1; slot >= 0; slot--) {
      this.#free[this.#freeCount++] = slot;
    }
  }

  get usedCount(): number {
    return REQUESTS_IN_FLIGHT_MAX - this.#freeCount;
  }

  /** A slot with no parts, no error and no memory. There must be one. */
  take(): number {
    assert(this.#freeCount > 0, "no request slot is free");
    const slot = this.#free[--this.#freeCount]!;
    this.page[slot] = -1;
    this.parts[slot] = 0;
    this.errno[slot] = 0;
    return slot;
  }

  release(slot: number): void {
    assert(this.#freeCount < REQUESTS_IN_FLIGHT_MAX, "released more request slots than there are");
    this.#free[this.#freeCount++] = slot;
  }
}
