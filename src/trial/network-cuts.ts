import type { NetworkFabric } from "../sim/index.ts";

/** Cuts that may overlap: a path is open again when the last of them has ended. */
export class NetworkCuts {
  readonly #fabric: NetworkFabric;
  readonly #counts = new Map<string, number>();

  constructor(fabric: NetworkFabric) {
    this.#fabric = fabric;
  }

  /** Cuts each path, from the first address to the second. Returns how to mend them. */
  cut(paths: readonly (readonly [string, string])[]): () => void {
    for (const [from, to] of paths) {
      const key = `${from} ${to}`;
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
      this.#fabric.block(from, to);
    }
    return () => {
      for (const [from, to] of paths) this.#mend(from, to);
    };
  }

  #mend(from: string, to: string): void {
    const key = `${from} ${to}`;
    const left = (this.#counts.get(key) ?? 1) - 1;
    this.#counts.set(key, left);
    if (left === 0) this.#fabric.unblock(from, to);
  }
}
