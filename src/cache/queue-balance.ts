/**
 * How much of the cache the cold queue aims at, and what the hot ring's victims say about ghosts.
 *
 * In the published modes these are constants. The adaptive mode asks both sides about the same
 * amount of room, the margin. A ghost that returns soon enough that a cold queue longer by the
 * margin had kept it moves the border one step towards the hot ring. A hit on an armed slot that
 * the hand would have taken already, were the ring shorter by the margin, moves it back.
 *
 * Ages are in the cache's own time: admissions, plus a little for hits.
 */
import type { CacheParameters } from "./cache-parameters.ts";

const COLD_FRACTION_MIN = 0.05;
const COLD_FRACTION_MAX = 0.5;
const MARGIN_FRACTION = 0.15;
/** In slots. */
const BORDER_STEP = 0.2;
/** Weight of the newest victim in the moving average. */
const IDLE_WEIGHT = 1 / 128;

const BORDER = 0;
const IDLE = 1;

export class QueueBalance {
  readonly #adaptive: boolean;
  readonly #windowFraction: number;
  readonly #borderMin: number;
  readonly #borderMax: number;
  readonly #margin: number;
  /**
   * The border with its fraction, and for how long victims of the hot ring were idle (0: not
   * known).
   */
  readonly #estimates: Float64Array = new Float64Array(2);
  #coldTarget: number;
  #window: number;

  constructor(capacity: number, parameters: CacheParameters) {
    this.#adaptive = parameters.adaptive;
    this.#windowFraction = parameters.windowFraction;
    this.#borderMin = Math.max(1, capacity * COLD_FRACTION_MIN);
    this.#borderMax = Math.max(1, capacity * COLD_FRACTION_MAX);
    this.#margin = Math.max(1, Math.floor(capacity * MARGIN_FRACTION));
    this.#coldTarget = Math.max(1, Math.floor(capacity * parameters.coldFraction));
    this.#window = Math.floor(this.#coldTarget * this.#windowFraction);
    this.#estimates[BORDER] = this.#coldTarget;
  }

  /** Slots. */
  get coldTarget(): number {
    return this.#coldTarget;
  }

  /** Admissions after its own for which a cold slot's hits are one burst. */
  get window(): number {
    return this.#window;
  }

  /** A victim of the hot ring had not been hit since the hand met it, `age` ago. */
  noteVictim(age: number): void {
    if (!this.#adaptive) return;
    const idle = this.#estimates[IDLE]!;
    this.#estimates[IDLE] = idle === 0 ? age : idle + (age - idle) * IDLE_WEIGHT;
  }

  /** A slot was hit that the hand had armed, or found new, `age` ago. */
  noteArmedHit(age: number, hotSize: number): void {
    if (!this.#adaptive || hotSize <= this.#margin) return;
    const idle = this.#estimates[IDLE]! * (1 - this.#margin / hotSize);
    if (idle > 0 && age > idle) this.#moveBorder(-BORDER_STEP);
  }

  /** A ghost is asked for `age` after it was admitted: does it belong into the hot ring? */
  ghostIsHot(age: number): boolean {
    if (!this.#adaptive) return true;
    if (age < this.#coldTarget + this.#margin) this.#moveBorder(BORDER_STEP);
    const idle = this.#estimates[IDLE]!;
    return idle === 0 || age <= idle;
  }

  #moveBorder(step: number): void {
    const border = this.#estimates[BORDER]! + step;
    this.#estimates[BORDER] = Math.min(this.#borderMax, Math.max(this.#borderMin, border));
    this.#coldTarget = Math.floor(this.#estimates[BORDER]);
    this.#window = Math.floor(this.#coldTarget * this.#windowFraction);
  }
}
