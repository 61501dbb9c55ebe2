import { assertDefined } from "../base/index.ts";
import type { Prng } from "../base/index.ts";

/** 32 hexadecimal digits that tell people what they stand for. */
export function idOf(kind: string, number: number): string {
  return `${kind}${number.toString(16).padStart(2, "0")}`.padStart(32, "0");
}

export const CLUSTER_ID: string = idOf("c1", 0);
export const hostIdOf = (host: number): string => idOf("a", host);
export const deviceIdOf = (host: number): string => idOf("d", host);

export function shuffled<T>(prng: Prng, items: readonly T[]): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = prng.below(i + 1);
    const item = assertDefined(result[i], "an index within");
    result[i] = assertDefined(result[j], "an index within");
    result[j] = item;
  }
  return result;
}
