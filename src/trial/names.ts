import { assertDefined } from "../base/index.ts";
import type { Prng } from "../base/index.ts";
import type { NetworkAddress } from "../ports/index.ts";

/** 32 hexadecimal digits that tell people what they stand for. */
export function idOf(kind: string, number: number): string {
  return `${kind}${number.toString(16).padStart(2, "0")}`.padStart(32, "0");
}

export const CLUSTER_ID: string = idOf("c1", 0);
export const hostIdOf = (host: number): string => idOf("a", host);
/** Of the disk that a host has first, and of those that it is given later. */
export const deviceIdOf = (host: number, disk = 0): string => idOf("d", host + 16 * disk);

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

export function parseAddress(text: string): NetworkAddress {
  const [host = "", port = ""] = text.split(":");
  return { kind: "tcp", host, port: Number(port) };
}

export function formatAddress(address: NetworkAddress): string {
  return address.kind === "tcp" ? `${address.host}:${address.port}` : address.path;
}
