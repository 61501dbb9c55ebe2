/**
 * Serves the components of this host to owners on other hosts. Everything that comes over a link is
 * checked against the component before it is used. What a component has no room for waits here,
 * bounded by what an owner may have under way, while other messages go on: a watermark may be what
 * makes the room.
 */
import { assertDefined, BLOCK_SIZE_BYTES, CodedError, getU32, getU40 } from "../base/index.ts";
import { getU48, REGION_BLOCKS } from "../base/index.ts";
import {
  LINK_COMMIT,
  LINK_PREPARE,
  LINK_PREPARED,
  LINK_READ,
  LINK_READ_DONE,
  LinkCommitLayout,
  LinkDoneLayout,
  LinkPrepareLayout,
  LinkReadLayout,
} from "../format/index.ts";
import type { LinkHeader } from "../format/index.ts";
import type { CallAnswer, CallHandler, CallRequest, Link, Links } from "../link/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import { CHANGE_BLOCKS_MAX } from "../store/index.ts";
import type { ComponentDone, ComponentFault, LocalComponent } from "../store/index.ts";
import type { Transaction } from "../store/index.ts";
import { decodeBatch, encodeBatch, encodeOfferAnswer, invalid } from "./change-codec.ts";
import { checkedWanted } from "./extent-runs.ts";
import { faultNumber, kindOf, RequestNumbers, WIRE_BLOCKS_MAX } from "./component-wire.ts";
import { ReadLine } from "./read-line.ts";
import type { WantedRead } from "./read-line.ts";
import { LARGE_READ_BYTES, ServedMemory, SMALL_READ_BYTES } from "./served-memory.ts";

const HANDLES_MAX = 65_536;
/** Of writes over one link that wait for room: twice what an owner has under way to a host. */
const PARKED_BYTES_MAX = 32 << 20;
/** What a write that waits takes beside its data, at least. */
const PARKED_BYTES = 256;

export interface ComponentStore {
  /** A component of this host, undefined if it has none of this id. */
  readonly component: (componentId: string) => LocalComponent | undefined;
  /** Memory that the devices can read into; it is kept and used again. */
  readonly allocate: (lengthBytes: number) => DiskMemory;
}

/** Components that the other end of a link has opened. */
interface Session {
  readonly handles: LocalComponent[];
  readonly byId: Map<string, number>;
  readonly reads: ReadLine;
  parkedBytes: number;
}

interface Served {
  readonly link: Link;
  readonly requestId: number;
  readonly memory: DiskMemory | undefined;
  readonly lengthBytes: number;
  readonly reads: ReadLine | undefined;
}

interface Parked {
  readonly bytes: number;
  readonly transaction: Transaction;
  readonly link: Link;
  readonly requestId: number;
}

export class ComponentServer {
  readonly #store: ComponentStore;
  readonly #sessions = new WeakMap<Link, Session>();
  readonly #served = new RequestNumbers<Served>();
  /** Transactions that wait for room, by component, in order. */
  readonly #parked = new Map<LocalComponent, Parked[]>();
  readonly #memory: ServedMemory;
  readonly #dirty = new Set<LocalComponent>();
  readonly #transaction: Transaction = {
    epoch: 0,
    sequence: 0,
    kind: "data",
    blockIndex: 0,
    blockCount: 0,
    source: new Uint8Array(0),
    sourceAt: 0,
  };

  /** Kept for reads of other hosts. */
  get memoryBytes(): number {
    return this.#memory.bytes;
  }

  constructor(links: Links, store: ComponentStore) {
    this.#store = store;
    this.#memory = new ServedMemory(store.allocate);
    links.handleMessages(
      [LINK_PREPARE, LINK_READ, LINK_COMMIT],
      (link, header, bytes, from, to) => {
        this.#message(link, header, bytes, from, to);
      },
    );
    const handle = (method: string, work: Work, answers?: "long"): void => {
      const answer: CallHandler = async (request) => await this.#call(request, work);
      links.handle(`component.${method}`, answer, answers);
    };
    handle("extents", extents, "long");
    handle("changes", changes, "long");
    handle("begin-catch-up", beginCatchUp);
    handle("offer", offer, "long");
    handle("offer-again", offerAgain, "long");
    handle("apply", apply);
    handle("end-catch-up", endCatchUp);
    handle("digests", digests, "long");
    this.#openOver(links);
  }

  /** Opening gives a component a short name on the link that it was opened over. */
  #openOver(links: Links): void {
    links.handle("component.open", async (request, fromHostId) => {
      const link = links.linkTo(fromHostId);
      const component = this.#require(request.argument);
      const opening = await component.open(numberOf(request.argument, "epoch"));
      if (link === undefined || !link.isUp) throw invalid("the link is down");
      const handle = this.#handleOf(link, component);
      return { result: { ...opening, handle, blockCount: component.blockCount } };
    });
  }

  #handleOf(link: Link, component: LocalComponent): number {
    let session = this.#sessions.get(link);
    if (session === undefined) {
      const reads = new ReadLine(link, this.#memory, (read) => {
        this.#startRead(link, reads, read);
        this.#submitSoon(read.component);
      });
      session = { handles: [], byId: new Map(), reads, parkedBytes: 0 };
      this.#sessions.set(link, session);
      this.#forgetParked();
    }
    const known = session.byId.get(component.componentId);
    if (known !== undefined) {
      session.handles[known] = component;
      return known;
    }
    if (session.handles.length === HANDLES_MAX) throw invalid("too many components are open");
    session.byId.set(component.componentId, session.handles.length);
    return session.handles.push(component) - 1;
  }

  #require(argument: unknown): LocalComponent {
    const componentId = textOf(argument, "componentId");
    const component = this.#store.component(componentId);
    if (component !== undefined) return component;
    throw new CodedError({
      code: "component-missing",
      message: `this host has no component ${componentId}`,
    });
  }

  async #call(request: CallRequest, work: Work): Promise<CallAnswer> {
    return await work(this.#require(request.argument), request);
  }

  #message(link: Link, header: LinkHeader, bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    const component = this.#sessions.get(link)?.handles[getU32(bytes, start)];
    if (header.type === LINK_COMMIT) {
      if (length !== LinkCommitLayout.sizeBytes) return link.violation("a commit of odd length");
      const at = LinkCommitLayout.at;
      component?.commit(getU48(bytes, start + at.epoch), getU48(bytes, start + at.sequence));
      if (component !== undefined) this.#submitSoon(component);
    } else if (header.type === LINK_READ) {
      if (length !== LinkReadLayout.sizeBytes) return link.violation("a read of odd length");
      this.#read(link, header.requestId, component, bytes, start);
    } else {
      if (length < LinkPrepareLayout.sizeBytes) return link.violation("a prepare of odd length");
      this.#prepare(link, header.requestId, component, bytes, start, end);
    }
  }

  #prepare(
    link: Link,
    requestId: number,
    component: LocalComponent | undefined,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const at = LinkPrepareLayout.at;
    const transaction = this.#transaction;
    const kind = kindOf(bytes[start + at.kind]!);
    transaction.epoch = getU48(bytes, start + at.epoch);
    transaction.sequence = getU48(bytes, start + at.sequence);
    transaction.blockIndex = getU40(bytes, start + at.blockIndex);
    transaction.blockCount = getU32(bytes, start + at.blockCount);
    transaction.source = bytes;
    transaction.sourceAt = start + LinkPrepareLayout.sizeBytes;
    const dataBlocks = kind === "data" ? transaction.blockCount : 0;
    const isWhole = end - transaction.sourceAt === dataBlocks * BLOCK_SIZE_BYTES;
    if (kind === undefined || !isWhole || dataBlocks > WIRE_BLOCKS_MAX)
      return link.violation("a prepare whose payload does not fit");
    transaction.kind = kind;
    if (component === undefined) return this.#answer(link, LINK_PREPARED, requestId, "unreachable");
    const last = transaction.blockIndex + transaction.blockCount;
    if (transaction.blockCount < 1 || last > component.blockCount)
      return link.violation("a prepare beyond its component");
    const parked = this.#parked.get(component);
    if (parked !== undefined && parked.length > 0) return this.#park(component, link, requestId);
    if (!this.#start(component, transaction, link, requestId))
      return this.#park(component, link, requestId);
    this.#submitSoon(component);
  }

  /** False if there is no room for it now. */
  #start(
    component: LocalComponent,
    transaction: Transaction,
    link: Link,
    requestId: number,
  ): boolean {
    if (!component.mayPrepare(transaction.epoch, transaction.sequence)) {
      link.violation("a prepare out of order");
      return true;
    }
    if (this.#served.isFull) {
      link.violation("more is under way than a host serves");
      return true;
    }
    const nothing = { memory: undefined, lengthBytes: 0, reads: undefined };
    const number = this.#served.take({ link, requestId, ...nothing });
    if (component.prepare(transaction, this.#prepared, number)) return true;
    this.#served.give(number);
    return false;
  }

  #park(component: LocalComponent, link: Link, requestId: number): void {
    const { source, sourceAt, blockCount, kind } = this.#transaction;
    const length = kind === "data" ? blockCount * BLOCK_SIZE_BYTES : 0;
    const bytes = PARKED_BYTES + length;
    const session = assertDefined(this.#sessions.get(link), "who writes has opened a component");
    session.parkedBytes += bytes;
    if (session.parkedBytes > PARKED_BYTES_MAX) {
      link.violation("more writes wait than any owner has under way");
      return this.#forgetParked();
    }
    const copy = source.slice(sourceAt, sourceAt + length);
    const transaction = { ...this.#transaction, source: copy, sourceAt: 0 };
    const waiting = this.#parked.get(component) ?? [];
    waiting.push({ transaction, link, requestId, bytes });
    this.#parked.set(component, waiting);
    if (waiting.length === 1) component.onRoom(() => this.#unpark(component));
  }

  #unpark(component: LocalComponent): void {
    const waiting = this.#parked.get(component) ?? [];
    while (waiting.length > 0) {
      const { transaction, link, requestId, bytes } = waiting[0]!;
      // Whoever sent it has been told that it is lost; nobody may rely on it.
      if (link.isUp && !this.#start(component, transaction, link, requestId)) {
        component.onRoom(() => this.#unpark(component));
        break;
      }
      waiting.shift();
      const session = this.#sessions.get(link);
      if (session !== undefined) session.parkedBytes -= bytes;
    }
    if (waiting.length === 0) this.#parked.delete(component);
    component.submit();
  }

  /** What came over links that are down. The first of a line stays: room is awaited for it. */
  #forgetParked(): void {
    for (const [component, [first, ...others]] of this.#parked) {
      if (first === undefined) continue;
      this.#parked.set(component, [first, ...others.filter(({ link }) => link.isUp)]);
    }
  }

  readonly #prepared: ComponentDone = (number, fault) => {
    const { link, requestId } = this.#served.give(number);
    this.#answer(link, LINK_PREPARED, requestId, fault);
  };

  #read(
    link: Link,
    requestId: number,
    component: LocalComponent | undefined,
    bytes: Uint8Array,
    start: number,
  ): void {
    const blockIndex = getU40(bytes, start + LinkReadLayout.at.blockIndex);
    const blockCount = getU32(bytes, start + LinkReadLayout.at.blockCount);
    if (component === undefined)
      return this.#answer(link, LINK_READ_DONE, requestId, "unreachable");
    const isInside = blockCount >= 1 && blockCount <= WIRE_BLOCKS_MAX;
    if (!isInside || blockIndex + blockCount > component.blockCount)
      return link.violation("a read beyond its component");
    const { reads } = assertDefined(this.#sessions.get(link), "it has opened the component");
    const isSmall = blockCount * BLOCK_SIZE_BYTES <= SMALL_READ_BYTES;
    const memoryBytes = isSmall ? SMALL_READ_BYTES : LARGE_READ_BYTES;
    const read = { requestId, component, blockIndex, blockCount, memoryBytes };
    if (!reads.begin(memoryBytes)) return reads.wait(read);
    this.#startRead(link, reads, read);
    this.#submitSoon(component);
  }

  #startRead(link: Link, reads: ReadLine, read: WantedRead): void {
    const { requestId, component, blockIndex, blockCount, memoryBytes } = read;
    if (this.#served.isFull) return link.violation("more is under way than a host serves");
    const lengthBytes = blockCount * BLOCK_SIZE_BYTES;
    const memory = this.#memory.take(memoryBytes);
    const number = this.#served.take({ link, requestId, memory, lengthBytes, reads });
    component.read(memory, 0, blockIndex, blockCount, this.#readDone, number);
  }

  readonly #readDone: ComponentDone = (number, fault) => {
    const { link, requestId, memory, lengthBytes, reads } = this.#served.give(number);
    if (link.isUp && fault === undefined && memory !== undefined) {
      const length = LinkDoneLayout.sizeBytes + lengthBytes;
      const room = link.message(LINK_READ_DONE, requestId, length);
      room.bytes[room.at] = 0;
      room.bytes.set(memory.bytes.subarray(0, lengthBytes), room.at + LinkDoneLayout.sizeBytes);
    } else {
      this.#answer(link, LINK_READ_DONE, requestId, fault);
    }
    if (memory === undefined) return;
    reads?.end(memory.bytes.length);
    this.#memory.give(memory);
  };

  #answer(link: Link, type: number, requestId: number, fault: ComponentFault | undefined): void {
    if (!link.isUp) return;
    const room = link.message(type, requestId, LinkDoneLayout.sizeBytes);
    room.bytes[room.at + LinkDoneLayout.at.fault] = faultNumber(fault);
  }

  /** Once per turn, whatever came in it. */
  #submitSoon(component: LocalComponent): void {
    this.#dirty.add(component);
    if (this.#dirty.size > 1) return;
    void Promise.resolve().then(() => {
      const dirty = [...this.#dirty];
      this.#dirty.clear();
      for (const one of dirty) one.submit();
    });
  }
}

type Work = (component: LocalComponent, request: CallRequest) => Promise<CallAnswer>;

const extents: Work = async (component, { argument }) => {
  const said = {
    blockIndex: numberOf(argument, "blockIndex"),
    blockCount: numberOf(argument, "blockCount"),
    runsMax: numberOf(argument, "runsMax"),
  };
  const { blockIndex, blockCount, runsMax } = checkedWanted(said, component.blockCount);
  return { result: await component.extents(blockIndex, blockCount, runsMax) };
};

const changes: Work = async (component, { argument }) => {
  const withFingerprints = valueOf(argument, "withFingerprints") === true;
  const batch = await component.changes({
    epoch: numberOf(argument, "epoch"),
    since: numberOf(argument, "since"),
    fromBlock: Math.max(0, numberOf(argument, "fromBlock")),
    toBlock: Math.min(component.blockCount, numberOf(argument, "toBlock")),
    blocksMax: Math.min(CHANGE_BLOCKS_MAX, Math.max(1, numberOf(argument, "blocksMax"))),
    withFingerprints,
  });
  const { shape, bytes } = encodeBatch(batch);
  return { result: shape, payload: bytes };
};

const beginCatchUp: Work = async (component, { argument }) => ({
  result: await component.beginCatchUp(numberOf(argument, "epoch"), numberOf(argument, "since")),
});

const offer: Work = async (component, { argument, payload }) => {
  const { batch } = decodeBatch(valueOf(argument, "shape"), payload);
  const epoch = numberOf(argument, "epoch");
  const isSecond = valueOf(argument, "isSecond") === true;
  const answer = await component.offer(epoch, batch, isSecond);
  const { result, bytes } = encodeOfferAnswer(answer, valueOf(argument, "isKept") === true);
  return { result, payload: bytes };
};

const offerAgain: Work = async (component, { argument }) => {
  const blocks = numberOf(argument, "blocks");
  const epoch = numberOf(argument, "epoch");
  const answer = await component.offerAgain(epoch, numberOf(argument, "offer"), blocks);
  if (answer === undefined) return { result: null };
  const { result, bytes } = encodeOfferAnswer(answer, true);
  return { result, payload: bytes };
};

const apply: Work = async (component, { argument, payload }) => {
  // The bytes are the link's, for this turn only: the component copies what it cannot take in it.
  const { batch, rest } = decodeBatch(valueOf(argument, "shape"), payload);
  await component.apply(numberOf(argument, "epoch"), batch, rest);
  return { result: null };
};

const endCatchUp: Work = async (component, { argument }) => {
  await component.endCatchUp(numberOf(argument, "epoch"));
  return { result: null };
};

const digests: Work = async (component, { argument }) => {
  const first = numberOf(argument, "firstRegion");
  const count = numberOf(argument, "regionCount");
  // The first one of a component without blocks is asked for to have it settle.
  const regions = Math.max(1, Math.ceil(component.blockCount / REGION_BLOCKS));
  if (first < 0 || count < 0 || count > 65_536 || first + count > regions)
    throw invalid("regions out of range");
  const payload = await component.digests(numberOf(argument, "epoch"), first, count);
  return { result: null, payload };
};

export function valueOf(argument: unknown, name: string): unknown {
  if (typeof argument !== "object" || argument === null) throw invalid("an argument is no object");
  return (argument as Readonly<Record<string, unknown>>)[name];
}

export function numberOf(argument: unknown, name: string): number {
  const value = valueOf(argument, name);
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  throw invalid(`${name} is not a number`);
}

export function textOf(argument: unknown, name: string): string {
  const value = valueOf(argument, name);
  if (typeof value === "string" && value.length > 0 && value.length <= 4096) return value;
  throw invalid(`${name} is not a text`);
}
