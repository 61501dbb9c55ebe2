/** Blocks in which damage was found, until they were written again and read well. */

const PLACES_MAX = 4096;

export interface HurtPlace {
  /** The component's number on the device. */
  readonly component: number;
  readonly blockIndex: number;
}

export class HurtPlaces {
  readonly #places = new Map<string, HurtPlace>();
  #isWhole = true;

  add(place: HurtPlace): void {
    if (this.#places.size < PLACES_MAX)
      this.#places.set(`${place.component} ${place.blockIndex}`, place);
    else this.#isWhole = false;
  }

  get count(): number {
    return this.#places.size;
  }

  /** False if there were more than are remembered: only a scrub can tell then. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  all(): readonly HurtPlace[] {
    return [...this.#places.values()];
  }

  clear(): void {
    this.#places.clear();
  }
}
