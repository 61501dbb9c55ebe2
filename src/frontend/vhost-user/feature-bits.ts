/** Sets of feature bits, numbered from 0 to 63, as messages carry them. */
import { getU32, setU32 } from "../../base/index.ts";
import { demand } from "./violation.ts";

export class FeatureBits {
  readonly #low: number;
  readonly #high: number;

  private constructor(low: number, high: number) {
    this.#low = low;
    this.#high = high;
  }

  static of(bits: readonly number[]): FeatureBits {
    let low = 0;
    let high = 0;
    for (const bit of bits) {
      if (bit < 32) low |= 1 << bit;
      else high |= 1 << (bit - 32);
    }
    return new FeatureBits(low, high);
  }

  /** What a client chose of what it was offered. */
  static chosen(bytes: Uint8Array, offered: FeatureBits): FeatureBits {
    const chosen = new FeatureBits(getU32(bytes, 0), getU32(bytes, 4));
    const isOffered = (chosen.#low & ~offered.#low) === 0 && (chosen.#high & ~offered.#high) === 0;
    demand(isOffered, "a feature was chosen that was not offered");
    return chosen;
  }

  has(bit: number): boolean {
    return bit < 32 ? (this.#low & (1 << bit)) !== 0 : (this.#high & (1 << (bit - 32))) !== 0;
  }

  encode(): Uint8Array {
    const bytes = new Uint8Array(8);
    setU32(bytes, 0, this.#low >>> 0);
    setU32(bytes, 4, this.#high >>> 0);
    return bytes;
  }
}
