/**
 * A component behind a link that can be cut: what is under way then is answered as unreachable, and
 * may or may not have been done.
 */
import { BLOCK_SIZE_BYTES, CodedError } from "../../src/base/index.ts";
import type { DiskMemory } from "../../src/ports/index.ts";
import type {
  BlockRun,
  ChangeBatch,
  ChangesRequest,
  Component,
  ComponentDone,
  ComponentOpening,
  OfferAnswer,
  Transaction,
} from "../../src/store/index.ts";

interface Waiting {
  readonly done: ComponentDone;
  readonly token: number;
}

export class CutComponent implements Component {
  readonly componentId: string;
  readonly isOpen: boolean = true;
  /** The component now, undefined while its host has no power. */
  readonly #find: () => Component | undefined;
  readonly #allocate: (lengthBytes: number) => DiskMemory;
  readonly #waiting = new Set<Waiting>();
  readonly #roomCallbacks: (() => void)[] = [];
  #isCut = false;
  #blockCount = 0;

  /** `allocate` gives memory of the other end. */
  constructor(
    componentId: string,
    find: () => Component | undefined,
    allocate: (lengthBytes: number) => DiskMemory,
  ) {
    this.componentId = componentId;
    this.#find = find;
    this.#allocate = allocate;
  }

  get blockCount(): number {
    this.#blockCount = this.#find()?.blockCount ?? this.#blockCount;
    return this.#blockCount;
  }

  cut(): void {
    this.#isCut = true;
    for (const waiting of [...this.#waiting]) this.#answer(waiting, "unreachable");
    for (const callback of this.#roomCallbacks.splice(0)) callback();
  }

  heal(): void {
    this.#isCut = false;
  }

  get #far(): Component {
    const found = this.#isCut ? undefined : this.#find();
    if (found !== undefined) return found;
    throw new CodedError({ code: "unreachable", message: `${this.componentId} is cut off` });
  }

  async #call<T>(work: (component: Component) => Promise<T>): Promise<T> {
    const answer = await work(this.#far);
    void this.#far;
    return answer;
  }

  #answer(waiting: Waiting, fault: Parameters<ComponentDone>[1]): void {
    if (this.#waiting.delete(waiting)) waiting.done(waiting.token, fault);
  }

  /** Starts work if there is a way; its answer may be overtaken by a cut. */
  #start(done: ComponentDone, token: number, work: (done: ComponentDone) => boolean): boolean {
    const waiting = { done, token };
    this.#waiting.add(waiting);
    const found = this.#isCut ? undefined : this.#find();
    if (found === undefined) {
      void Promise.resolve().then(() => this.#answer(waiting, "unreachable"));
      return true;
    }
    if (work((_token, fault) => this.#answer(waiting, fault))) return true;
    this.#waiting.delete(waiting);
    return false;
  }

  open(epoch: number): Promise<ComponentOpening> {
    return this.#call((component) => component.open(epoch));
  }

  prepare(transaction: Transaction, done: ComponentDone, token: number): boolean {
    return this.#start(done, token, (answer) => this.#far.prepare(transaction, answer, 0));
  }

  commit(epoch: number, sequence: number): void {
    if (!this.#isCut) this.#find()?.commit(epoch, sequence);
  }

  read(
    target: DiskMemory,
    targetAt: number,
    blockIndex: number,
    blockCount: number,
    done: ComponentDone,
    token: number,
  ): void {
    const lengthBytes = blockCount * BLOCK_SIZE_BYTES;
    this.#start(done, token, (answer) => {
      const memory = this.#allocate(lengthBytes);
      const copy: ComponentDone = (_token, fault) => {
        target.bytes.set(memory.bytes, targetAt);
        answer(0, fault);
      };
      this.#far.read(memory, 0, blockIndex, blockCount, copy, 0);
      return true;
    });
  }

  extents(blockIndex: number, blockCount: number, runsMax: number): Promise<readonly BlockRun[]> {
    return this.#call((component) => component.extents(blockIndex, blockCount, runsMax));
  }

  onRoom(callback: () => void): void {
    if (this.#isCut || this.#find() === undefined) {
      queueMicrotask(callback);
      return;
    }
    this.#roomCallbacks.push(callback);
    this.#far.onRoom(() => {
      const at = this.#roomCallbacks.indexOf(callback);
      if (at < 0) return;
      this.#roomCallbacks.splice(at, 1);
      callback();
    });
  }

  submit(): void {
    if (!this.#isCut) this.#find()?.submit();
  }

  changes(request: ChangesRequest): Promise<ChangeBatch> {
    return this.#call((component) => component.changes(request));
  }

  beginCatchUp(epoch: number, since: number): Promise<number> {
    return this.#call((component) => component.beginCatchUp(epoch, since));
  }

  offer(epoch: number, batch: ChangeBatch, isSecond: boolean): Promise<OfferAnswer> {
    return this.#call((component) => component.offer(epoch, batch, isSecond));
  }

  offerAgain(epoch: number, offer: number, blocks: number): Promise<OfferAnswer | undefined> {
    return this.#call((component) => component.offerAgain(epoch, offer, blocks));
  }

  apply(epoch: number, batch: ChangeBatch, payload: Uint8Array): Promise<void> {
    return this.#call((component) => component.apply(epoch, batch, payload));
  }

  endCatchUp(epoch: number): Promise<void> {
    return this.#call((component) => component.endCatchUp(epoch));
  }

  digests(epoch: number, firstRegion: number, regionCount: number): Promise<Uint8Array> {
    return this.#call((component) => component.digests(epoch, firstRegion, regionCount));
  }
}
