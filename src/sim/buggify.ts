import type { Prng } from "../base/index.ts";

const SITE_PROBABILITY = 0.25;

/**
 * Invites rare paths. A site is switched on or off once per run; where it is on, it fires by chance
 * at each visit. So runs differ in what goes on in them, not only in when. After FoundationDB's
 * BUGGIFY.
 */
export class Buggify {
  readonly #prng: Prng;
  readonly #sites = new Map<string, boolean>();

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  /** True with `probability` if the site is on in this run. */
  fires(site: string, probability: number): boolean {
    let isOn = this.#sites.get(site);
    if (isOn === undefined) {
      isOn = this.#prng.chance(SITE_PROBABILITY);
      this.#sites.set(site, isOn);
    }
    return isOn && this.#prng.chance(probability);
  }

  /** Sites that are on, for the report of a run. */
  sitesOn(): string[] {
    return [...this.#sites].filter(([, isOn]) => isOn).map(([site]) => site);
  }
}
