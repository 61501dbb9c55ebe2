/**
 * What measurement decides while the cache runs; in the published modes these are constants.
 *
 * *Ghosts.* One must be younger than what it displaces. The hand learns how long the hot ring's
 * victims were idle; a ghost that stayed away for longer would push out something better, so it
 * starts in the cold queue again, without the window. This is the comparison at the heart of LIRS
 * (Jiang and Zhang, SIGMETRICS 2002), at the price of one number.
 *
 * *Border*: how much of the cache the cold queue aims at. It moves to where a slot is worth more,
 * as in ARC (Megiddo and Modha, FAST 2003), but both sides are asked about the same amount of room,
 * the margin. A ghost that returns soon enough that a cold queue longer by the margin had kept it
 * moves the border one step towards the hot ring. A hit on an armed slot that the hand would have
 * taken already, were the ring shorter by the margin, moves it back.
 *
 * *Grace*: a slot that was hit in several rounds of the hand and not in the last one may stay for
 * one more. Counters of hits, as in S3-FIFO (Yang et al., SOSP 2023), do the same; that is right
 * where popularity lasts and clings to the dead where it moves on. So the share of graced slots
 * that are hit is held against the share of newcomers that are hit in their first round; where
 * grace pays less than half as much, only every sixteenth slot gets it, to notice when that
 * changes.
 *
 * The same comparison says how *steady* popularity is, and that weighs the border: where it moves
 * on, a hit that a shorter hot ring had missed is no reason for a longer one, and a ghost that a
 * longer cold queue had kept is a strong one for that.
 *
 * *Window*: hits age it a little, so that a working set that fits, and admits nothing new, is not
 * taken for one long burst.
 *
 * Ages are in the cache's own time: admissions, plus a little for hits.
 */
import type { CacheParameters } from "./cache-parameters.ts";

const COLD_FRACTION_MIN = 0.05;
const COLD_FRACTION_MAX = 0.7;
const MARGIN_FRACTION = 0.15;
/** In slots. */
const BORDER_STEP = 0.2;
/** How many more steps a soon returning ghost moves the border where popularity moves on. */
const DRIFT_BOOST = 19;
/** Weight of the newest victim in the moving average. */
const IDLE_WEIGHT = 1 / 128;

/** Weight of the newest observation in the shares of graced and of new slots that are hit. */
const SHARE_WEIGHT = 0.01;
const GRACE_WORTH_MIN = 0.5;
const GRACE_PROBE_MASK = 15;

const BORDER = 0;
const IDLE = 1;
const GRACED_HIT_SHARE = 2;
const NEW_HIT_SHARE = 3;

export class QueueBalance {
  readonly #adaptive: boolean;
  readonly #windowFraction: number;
  readonly #borderMin: number;
  readonly #borderMax: number;
  readonly #margin: number;
  /**
   * The border with its fraction; how long victims of the hot ring were idle (0: not known);
   * shares.
   */
  readonly #estimates: Float64Array = Float64Array.of(0, 0, 0.5, 0.5);
  #graceRefusals = 0;
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

  /** Whether rounds of the hand are counted at all, and may earn grace. */
  get countsRounds(): boolean {
    return this.#adaptive;
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
    if (idle > 0 && age > idle) this.#moveBorder(-BORDER_STEP * this.#steadiness());
  }

  /** A ghost is asked for `age` after it was admitted: does it belong into the hot ring? */
  ghostIsHot(age: number): boolean {
    if (!this.#adaptive) return true;
    if (age < this.#coldTarget + this.#margin) {
      this.#moveBorder(BORDER_STEP * (1 + DRIFT_BOOST * (1 - this.#steadiness())));
    }
    const idle = this.#estimates[IDLE]!;
    return idle === 0 || age <= idle;
  }

  /** The hand comes to a slot that it gave grace the last time. */
  noteGraced(wasHit: boolean): void {
    this.#noteShare(GRACED_HIT_SHARE, wasHit);
  }

  /** The hand comes to a slot for the first time. */
  noteNewcomer(wasHit: boolean): void {
    this.#noteShare(NEW_HIT_SHARE, wasHit);
  }

  givesGrace(): boolean {
    if (this.#steadiness() === 1) return true;
    this.#graceRefusals = (this.#graceRefusals + 1) & GRACE_PROBE_MASK;
    return this.#graceRefusals === 0;
  }

  /**
   * From 0, where what lingers in the hot ring is hit no more, to 1, where it is hit at least half
   * as often as newcomers.
   */
  #steadiness(): number {
    const wanted = this.#estimates[NEW_HIT_SHARE]! * GRACE_WORTH_MIN;
    const worth = this.#estimates[GRACED_HIT_SHARE]!;
    return worth >= wanted ? 1 : worth / wanted;
  }

  #noteShare(share: number, wasHit: boolean): void {
    const before = this.#estimates[share]!;
    this.#estimates[share] = before + ((wasHit ? 1 : 0) - before) * SHARE_WEIGHT;
  }

  #moveBorder(step: number): void {
    const border = this.#estimates[BORDER]! + step;
    this.#estimates[BORDER] = Math.min(this.#borderMax, Math.max(this.#borderMin, border));
    this.#coldTarget = Math.floor(this.#estimates[BORDER]);
    this.#window = Math.floor(this.#coldTarget * this.#windowFraction);
  }
}
