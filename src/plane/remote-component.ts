/**
 * A component on another host. Requests of the data path are messages of fixed shape, what is under
 * way is in a slot table, and when the link breaks all of it is answered as unreachable: whether it
 * was done is unknown. After a break the component has to be opened again before it is used: the
 * other host may have started anew.
 */
import { assert, BLOCK_SIZE_BYTES } from "../base/index.ts";
import { LINK_PREPARED, LINK_READ_DONE, LinkDoneLayout } from "../format/index.ts";
import type { LinkHeader } from "../format/index.ts";
import type { Link, Links } from "../link/index.ts";
import type { Clock, DiskMemory } from "../ports/index.ts";
import { dataBlocksOf, FarBlocks } from "../store/index.ts";
import type {
  BlockRun,
  ChangeBatch,
  ChangesRequest,
  Component,
  ComponentDone,
  ComponentFault,
  ComponentOpening,
  OfferAnswer,
  Transaction,
} from "../store/index.ts";
import { decodeOfferAnswer, encodeBatch } from "./change-codec.ts";
import { changesOf, completeSequenceOf, digestsOf, openingOf } from "./component-answers.ts";
import { FarReads } from "./far-reads.ts";
import { parseRuns } from "./extent-runs.ts";
import { FAULTS, RequestNumbers, sendCommit, sendPrepare, sendRead } from "./component-wire.ts";

/** Payload of prepares under way to one host; more is refused until answers come. */
const WINDOW_BYTES = 16 << 20;
/** A watermark that nothing carries goes by itself after this time. */
const COMMIT_MS = 10;
const OPEN_MS = 20_000;
/** What is kept of reads from all other hosts, at the most. */
export const FAR_BYTES_MAX: number = 32 << 20;
const CONTROL_MS = 120_000;

interface Request {
  component: RemoteComponent;
  link: Link;
  done: ComponentDone;
  token: number;
  payloadBytes: number;
  target: DiskMemory | undefined;
  targetAt: number;
  lengthBytes: number;
  /** Of a read. */
  blockIndex: number;
  mark: number;
}

/** All components of other hosts, as this host reaches them. */
export class RemoteComponents {
  readonly links: Links;
  readonly clock: Clock;
  /** Blocks that were read from other hosts. */
  readonly far: FarBlocks;
  readonly #components = new Map<string, RemoteComponent>();
  readonly #requests = new RequestNumbers<Request>();
  readonly #refused: { readonly done: ComponentDone; readonly token: number }[] = [];
  readonly #windows = new Map<string, { bytes: number; waiting: (() => void)[] }>();

  constructor(links: Links, clock: Clock, farBytes: number = FAR_BYTES_MAX) {
    this.far = new FarBlocks(Math.floor(farBytes / BLOCK_SIZE_BYTES));
    this.links = links;
    this.clock = clock;
    links.handleMessages([LINK_PREPARED, LINK_READ_DONE], (link, header, bytes, start, end) => {
      this.#answered(link, header, bytes, start, end);
    });
    links.onChange((hostId, isUp) => {
      if (!isUp) this.#lost(hostId);
    });
  }

  component(componentId: string, hostId: string): RemoteComponent {
    const key = `${hostId} ${componentId}`;
    const known = this.#components.get(key);
    if (known !== undefined) return known;
    const component = new RemoteComponent(this, componentId, hostId);
    this.#components.set(key, component);
    return component;
  }

  /** Undefined if there is no room for that much now. */
  begin(request: Request): number | undefined {
    const window = this.#window(request.component.hostId);
    const wanted = window.bytes + request.payloadBytes;
    if (this.#requests.isFull || (window.bytes > 0 && wanted > WINDOW_BYTES)) return undefined;
    window.bytes = wanted;
    return this.#requests.take(request);
  }

  /** Answers as unreachable, at the end of the turn. */
  refuse(done: ComponentDone, token: number): void {
    this.#refused.push({ done, token });
    if (this.#refused.length === 1) void Promise.resolve().then(this.#answerRefused);
  }

  readonly #answerRefused = (): void => {
    for (const { done, token } of this.#refused.splice(0)) done(token, "unreachable");
  };

  onRoom(hostId: string, callback: () => void): void {
    const window = this.#window(hostId);
    window.waiting.push(callback);
    if (window.bytes === 0) void Promise.resolve().then(() => this.#wake(hostId));
  }

  #window(hostId: string): { bytes: number; waiting: (() => void)[] } {
    let window = this.#windows.get(hostId);
    if (window === undefined) {
      window = { bytes: 0, waiting: [] };
      this.#windows.set(hostId, window);
    }
    return window;
  }

  #wake(hostId: string): void {
    const window = this.#window(hostId);
    for (const callback of window.waiting.splice(0)) callback();
  }

  #answered(link: Link, header: LinkHeader, bytes: Uint8Array, start: number, end: number): void {
    const request = this.#requests.get(header.requestId);
    if (request === undefined || request.link !== link || end - start < LinkDoneLayout.sizeBytes) {
      link.violation("an answer to nothing");
      return;
    }
    const number = bytes[start + LinkDoneLayout.at.fault]!;
    const dataAt = start + LinkDoneLayout.sizeBytes;
    if (number >= FAULTS.length) {
      link.violation(`an answer with the unknown fault ${number}`);
      return;
    }
    if (number === 0 && end - dataAt !== request.lengthBytes) {
      link.violation(`an answer of ${end - dataAt} bytes, not ${request.lengthBytes}`);
      return;
    }
    if (number === 0 && request.target !== undefined) {
      request.target.bytes.set(bytes.subarray(dataAt, end), request.targetAt);
      // From here and not from the target, which another process may write to.
      request.component.far.keep(request.blockIndex, request.mark, bytes, dataAt, end);
    }
    this.#finish(header.requestId, FAULTS[number]);
  }

  #finish(number: number, fault: ComponentFault | undefined): void {
    const { component, done, token, payloadBytes } = this.#requests.give(number);
    const window = this.#window(component.hostId);
    window.bytes -= payloadBytes;
    done(token, fault);
    if (window.waiting.length > 0 && window.bytes <= WINDOW_BYTES / 2) this.#wake(component.hostId);
  }

  #lost(hostId: string): void {
    const link = this.links.linkTo(hostId);
    const lost = this.#requests.numbers((request) => {
      return request.component.hostId === hostId && request.link !== link;
    });
    for (const number of lost) if (this.#requests.get(number)) this.#finish(number, "unreachable");
    this.#wake(hostId);
  }
}

export class RemoteComponent implements Component {
  readonly componentId: string;
  readonly hostId: string;
  readonly far: FarReads;
  readonly #all: RemoteComponents;
  /** What the other host calls it, over the link it was opened on. */
  #handle = 0;
  #link: Link | undefined;
  #blockCount = 0;
  #commitEpoch = 0;
  #commitSequence = 0;
  #commitSent = 0;
  #isCommitTimed = false;

  constructor(all: RemoteComponents, componentId: string, hostId: string) {
    this.#all = all;
    this.componentId = componentId;
    this.hostId = hostId;
    this.far = new FarReads(all.far);
  }

  get blockCount(): number {
    return this.#blockCount;
  }

  get isOpen(): boolean {
    return this.#usable() !== undefined;
  }

  async open(epoch: number): Promise<ComponentOpening> {
    this.far.forget();
    const link = this.#all.links.linkTo(this.hostId);
    const { result } = await this.#call("component.open", { epoch }, OPEN_MS);
    const { opening, handle, blockCount } = openingOf(result);
    this.#handle = handle;
    this.#link = link;
    this.#blockCount = blockCount;
    this.#commitSent = 0;
    this.#commitSequence = 0;
    // Somebody else may have owned it meanwhile.
    this.far.forget();
    return opening;
  }

  prepare(transaction: Transaction, done: ComponentDone, token: number): boolean {
    const link = this.#usable();
    if (link === undefined) {
      this.#all.refuse(done, token);
      return true;
    }
    this.far.changes(transaction.blockIndex, transaction.blockCount);
    const isData = transaction.kind === "data";
    const payloadBytes = isData ? transaction.blockCount * BLOCK_SIZE_BYTES : 0;
    const requestId = this.#all.begin({
      component: this,
      link,
      done,
      token,
      payloadBytes,
      target: undefined,
      targetAt: 0,
      lengthBytes: 0,
      blockIndex: 0,
      mark: 0,
    });
    if (requestId === undefined) return false;
    this.#sendCommit(link);
    sendPrepare(link, requestId, this.#handle, transaction, payloadBytes);
    return true;
  }

  commit(epoch: number, sequence: number): void {
    this.#commitEpoch = epoch;
    this.#commitSequence = Math.max(this.#commitSequence, sequence);
    if (this.#isCommitTimed || this.#commitSequence <= this.#commitSent) return;
    this.#isCommitTimed = true;
    this.#all.clock.after(COMMIT_MS, () => {
      this.#isCommitTimed = false;
      const link = this.#usable();
      if (link !== undefined) this.#sendCommit(link);
    });
  }

  #sendCommit(link: Link): void {
    if (this.#commitSequence <= this.#commitSent) return;
    this.#commitSent = this.#commitSequence;
    sendCommit(link, this.#handle, this.#commitEpoch, this.#commitSequence);
  }

  read(
    target: DiskMemory,
    targetAt: number,
    blockIndex: number,
    blockCount: number,
    done: ComponentDone,
    token: number,
  ): void {
    const link = this.#usable();
    if (link === undefined) {
      this.#all.refuse(done, token);
      return;
    }
    const lengthBytes = blockCount * BLOCK_SIZE_BYTES;
    const requestId = this.#all.begin({
      component: this,
      link,
      done,
      token,
      payloadBytes: 0,
      target,
      targetAt,
      lengthBytes,
      blockIndex,
      mark: this.far.mark(blockIndex, blockCount),
    });
    assert(requestId !== undefined, "reads need no room");
    sendRead(link, requestId, this.#handle, blockIndex, blockCount);
  }

  readNow(target: DiskMemory, targetAt: number, blockIndex: number, blockCount: number): boolean {
    if (this.#usable() === undefined) return false;
    return this.far.readNow(blockIndex, blockCount, target.bytes, targetAt);
  }

  async extents(
    blockIndex: number,
    blockCount: number,
    runsMax: number,
  ): Promise<readonly BlockRun[]> {
    const argument = { blockIndex, blockCount, runsMax };
    const { result } = await this.#call("component.extents", argument, OPEN_MS);
    return parseRuns(result, argument);
  }

  onRoom(callback: () => void): void {
    this.#all.onRoom(this.hostId, callback);
  }

  submit(): void {
    this.#usable()?.flush();
  }

  async changes(request: ChangesRequest): Promise<ChangeBatch> {
    const { result, payload } = await this.#call("component.changes", request, CONTROL_MS);
    return changesOf(result, payload, request);
  }

  async beginCatchUp(epoch: number, since: number): Promise<number> {
    const argument = { epoch, since };
    const { result } = await this.#change("component.begin-catch-up", argument, CONTROL_MS);
    return completeSequenceOf(result, since);
  }

  async offer(epoch: number, batch: ChangeBatch, isSecond: boolean): Promise<OfferAnswer> {
    const link = this.#usable();
    // Contents are taken for what is known there to be decided.
    if (link !== undefined) this.#sendCommit(link);
    const { shape, bytes } = encodeBatch(batch);
    const argument = { epoch, shape, isSecond, isKept: true };
    const { result, payload } = await this.#change("component.offer", argument, CONTROL_MS, bytes);
    const wireBytes = bytes.length + payload.length;
    return { ...decodeOfferAnswer(result, payload, dataBlocksOf(batch)), wireBytes };
  }

  async offerAgain(epoch: number, offer: number, blocks: number): Promise<OfferAnswer | undefined> {
    const argument = { epoch, offer, blocks };
    const { result, payload } = await this.#change("component.offer-again", argument, CONTROL_MS);
    if (result === null) return undefined;
    return { ...decodeOfferAnswer(result, payload, blocks), wireBytes: payload.length };
  }

  async apply(epoch: number, batch: ChangeBatch, data: Uint8Array): Promise<void> {
    const { shape, bytes } = encodeBatch(batch);
    await this.#change("component.apply", { epoch, shape }, CONTROL_MS, bytes, data);
  }

  async endCatchUp(epoch: number): Promise<void> {
    await this.#change("component.end-catch-up", { epoch }, CONTROL_MS);
  }

  async digests(epoch: number, firstRegion: number, regionCount: number): Promise<Uint8Array> {
    const link = this.#usable();
    // What is decided must be known there before it is asked for.
    if (link !== undefined) this.#sendCommit(link);
    const argument = { epoch, firstRegion, regionCount };
    const { payload } = await this.#call("component.digests", argument, CONTROL_MS);
    return digestsOf(payload, regionCount);
  }

  /** The link on which the handle is good. */
  #usable(): Link | undefined {
    return this.#link?.isUp === true ? this.#link : undefined;
  }

  /** A call that changes contents: what is read meanwhile is not kept either. */
  async #change(
    method: string,
    argument: object,
    deadlineMs: number,
    ...payload: readonly Uint8Array[]
  ): Promise<{ readonly result: unknown; readonly payload: Uint8Array }> {
    this.far.forget();
    try {
      return await this.#call(method, argument, deadlineMs, ...payload);
    } finally {
      this.far.forget();
    }
  }

  async #call(
    method: string,
    argument: object,
    deadlineMs: number,
    ...payload: readonly Uint8Array[]
  ): Promise<{ readonly result: unknown; readonly payload: Uint8Array }> {
    const { componentId, hostId } = this;
    const said = { ...argument, componentId };
    const answer = await this.#all.links.call(hostId, method, said, { deadlineMs, payload });
    return { result: answer.result, payload: answer.payload ?? new Uint8Array(0) };
  }
}
