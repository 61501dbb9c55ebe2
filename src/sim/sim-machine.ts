/**
 * One machine: what loses power together. Disks, metadata stores, timers and digests of a machine
 * stop at the cut; the media stay and can be opened by the next machine, in the state the cut left
 * them in.
 *
 * Every write, flush and punch of a disk and every commit of a metadata store is an operation,
 * numbered from 1 across the machine. A sweep cuts the power at each: run once to learn
 * `operationCount`, then again with `cutPowerAt(1)`, `cutPowerAt(2)`, ... The cut comes when the
 * operation has been requested: it belongs to what may survive in part. Code of the dead machine
 * that is still running in that turn gets no completion and changes no medium.
 */
import { assert } from "../base/index.ts";
import { survivalOf } from "./crash-policy.ts";
import type { CrashPolicy, Survival } from "./crash-policy.ts";
import type { SimEvent, SimScope } from "./event-queue.ts";
import { SimClock } from "./sim-clock.ts";
import type { Simulation } from "./simulation.ts";

export interface SimOperation {
  /** 1 for the first of the machine. */
  readonly number: number;
  /** "end" is no operation: sweeps cut there after the workload. */
  readonly kind: "write" | "flush" | "punch" | "commit" | "end";
  /** For messages: where and how long. */
  readonly offset: number;
  readonly lengthBytes: number;
}

/** A medium that a machine has open. */
export interface SimMedium {
  /** Numbers of operations that a power cut may undo, ascending. */
  unflushedOperations(): number[];
  /** Applies the cut to this medium. */
  loseUnflushed(survival: Survival): void;
}

export type MachineOutcome<T> =
  | { readonly kind: "done"; readonly value: T }
  | { readonly kind: "power-cut" };

export class SimMachine implements SimScope {
  readonly simulation: Simulation;
  readonly clock: SimClock;
  /**
   * Called for each operation when it has been requested and before anything of it is durable. May
   * cut the power.
   */
  onOperation: ((operation: SimOperation) => void) | undefined;
  readonly #media = new Set<SimMedium>();
  #isOn = true;
  #operationCount = 0;
  #cut: { readonly at: number; readonly policy: CrashPolicy } | undefined;
  #unflushedAtCut = 0;
  /** What was to happen since the machine was paused. */
  #held: SimEvent[] | undefined;

  constructor(simulation: Simulation) {
    this.simulation = simulation;
    this.clock = new SimClock(simulation, this);
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** Operations requested so far. */
  get operationCount(): number {
    return this.#operationCount;
  }

  /** How many unflushed requests there were at the cut: the upper end for "prefix" policies. */
  get unflushedAtCut(): number {
    assert(!this.#isOn, "the machine still has power");
    return this.#unflushedAtCut;
  }

  /** Cuts the power when operation `number` has been requested. */
  cutPowerAt(number: number, policy: CrashPolicy): void {
    assert(number > this.#operationCount, "that operation is over");
    this.#cut = { at: number, policy };
  }

  /** Fault: the machine's code stands still, as a stopped process or a frozen guest does. */
  pause(): void {
    this.#held ??= [];
  }

  /** Whether its code runs: it has power and does not stand still. */
  get isRunning(): boolean {
    return this.#isOn && this.#held === undefined;
  }

  resume(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const event of held) this.simulation.putBack(event);
  }

  /** For the simulation. */
  holds(event: SimEvent): boolean {
    this.#held?.push(event);
    return this.#held !== undefined;
  }

  cutPower(policy: CrashPolicy): void {
    assert(this.#isOn, "the machine has no power any more");
    this.#isOn = false;
    const unflushed = this.#unflushed();
    this.#unflushedAtCut = unflushed.length;
    const survival = survivalOf(policy, unflushed);
    for (const medium of this.#media) medium.loseUnflushed(survival);
    this.#media.clear();
    this.#held = undefined;
  }

  /** Unflushed requests now: the upper end for "prefix" policies. */
  get unflushedCount(): number {
    return this.#unflushed().length;
  }

  /**
   * A copy of the medium as a cut now would leave it; the machine runs on. With `onOperation` one
   * run of a workload gives an image for every operation and policy.
   */
  imageAfterCut<M extends SimMedium & { fork(): M }>(medium: M, policy: CrashPolicy): M {
    const image = medium.fork();
    image.loseUnflushed(survivalOf(policy, this.#unflushed()));
    return image;
  }

  /** Runs until the work is done or the power is cut. What the work throws, this throws. */
  async run<T>(work: () => Promise<T>): Promise<MachineOutcome<T>> {
    let outcome: MachineOutcome<T> | undefined;
    let failure: { readonly error: unknown } | undefined;
    work().then(
      (value) => (outcome = { kind: "done", value }),
      (error: unknown) => (failure = { error }),
    );
    await this.simulation.runUntil(
      () => outcome !== undefined || failure !== undefined || !this.#isOn,
    );
    if (!this.#isOn) return { kind: "power-cut" };
    if (failure !== undefined) throw failure.error;
    assert(outcome !== undefined, "the run ended without an outcome");
    return outcome;
  }

  /** For adapters. Runs `callback` unless the power is cut before. */
  schedule(delayMs: number, callback: () => void): void {
    if (this.#isOn) this.simulation.schedule(delayMs, callback, this);
  }

  /** For adapters: the number the next operation will have. */
  get nextOperation(): number {
    return this.#operationCount + 1;
  }

  /** For adapters, once the request is among what the medium may lose. */
  operationRequested(kind: SimOperation["kind"], offset: number, lengthBytes: number): void {
    if (!this.#isOn) return;
    const number = ++this.#operationCount;
    this.onOperation?.({ number, kind, offset, lengthBytes });
    if (this.#isOn && this.#cut?.at === number) this.cutPower(this.#cut.policy);
  }

  /** For adapters. */
  attach(medium: SimMedium): void {
    assert(this.#isOn, "the machine has no power any more");
    this.#media.add(medium);
  }

  #unflushed(): number[] {
    const numbers: number[] = [];
    for (const medium of this.#media) numbers.push(...medium.unflushedOperations());
    return numbers.sort((a, b) => a - b);
  }
}
