/**
 * The links of one host on one network: one to each other host, kept up for as long as that host is
 * a peer. Of two hosts the one with the lower id dials, so there is one link and not two.
 */
import { assertDefined, CodedError, errorText, LatencyHistogram } from "../base/index.ts";
import type { Clock, Listener, Log, Network, NetworkAddress, Timer } from "../ports/index.ts";
import type { LinkHeader } from "../format/index.ts";
import type { AnswerLength } from "./answer-room.ts";
import { ChunkPool } from "./chunk-pool.ts";
import { Link, unreachable } from "./link.ts";
import type { CallAnswer, CallRequest } from "./link.ts";
import type { LinkIdentity } from "./link-hello.ts";
import { Patience } from "./patience.ts";
import { SPOKEN_VERSIONS } from "./spoken-versions.ts";
import type { SpokenVersions } from "./spoken-versions.ts";

const CALL_MS = 5000;
const DIAL_MS_MIN = 50;
const DIAL_MS_MAX = 2000;
const PROBE_MS = 150;
/** How long a machine that has told of a dead process may take to say so again. */
const CONFIRM_MS = 500;
/** A link that lasted this long is dialed again without delay when it breaks. */
const STABLE_MS = 1000;
/**
 * A silent host that is linked with again this soon was there all along: packets got lost. One
 * whose cable was pulled is not, as nothing tells us that the cable is back.
 */
const FALSE_ALARM_MS = 700;

export interface LinksPorts {
  readonly network: Network;
  readonly clock: Clock;
  readonly log: Log;
}

export interface PeerAddress {
  readonly hostId: string;
  readonly address: NetworkAddress;
}

export interface Peer {
  readonly hostId: string;
  readonly isUp: boolean;
  /** Of pings, on all links with it. */
  readonly roundTrips: LatencyHistogram;
  /** The number of starts of the host at the other end, while the link is up. */
  readonly incarnation: number | undefined;
  /** The version of the messages that is spoken with it, while the link is up. */
  readonly spokenVersion: number | undefined;
  /** Why the link is down, if it is. */
  readonly reason: string | undefined;
}

export type CallHandler = (request: CallRequest, fromHostId: string) => Promise<CallAnswer>;
export type MessageHandler = (
  link: Link,
  header: LinkHeader,
  bytes: Uint8Array,
  start: number,
  end: number,
) => void;
export type PeerChange = (hostId: string, isUp: boolean, reason: string | undefined) => void;

interface PeerState {
  readonly hostId: string;
  address: NetworkAddress;
  link: Link | undefined;
  reason: string | undefined;
  dialDelayMs: number;
  timer: Timer | undefined;
  upSinceMs: number;
  isDialing: boolean;
  isProvenDead: boolean;
  readonly patience: Patience;
  readonly roundTrips: LatencyHistogram;
  /** When its last link ended in silence. */
  silentSinceMs: number | undefined;
}

/** It is heard; its machine says that the process is gone; or nothing is known. */
export type HostVerdict = "heard" | "gone" | "silent";

export class Links {
  readonly #ports: LinksPorts & { readonly chunks: ChunkPool };
  readonly #own: LinkIdentity & { readonly versions: SpokenVersions };
  readonly #peers = new Map<string, PeerState>();
  readonly #handlers = new Map<string, CallHandler>();
  readonly #longAnswers = new Set<string>();
  readonly #messages = new Map<number, MessageHandler>();
  readonly #changes = new Set<PeerChange>();
  /** Accepted and not yet known. */
  readonly #strangers = new Set<Link>();
  #listener: Listener | undefined;
  #isClosed = false;

  constructor(ports: LinksPorts, own: LinkIdentity, versions: SpokenVersions = SPOKEN_VERSIONS) {
    this.#ports = { ...ports, chunks: new ChunkPool() };
    this.#own = { ...own, versions };
  }

  /** Fails as `Network.listen`. Resolves with the port that was chosen. */
  async listen(address: NetworkAddress): Promise<NetworkAddress> {
    this.#listener = await this.#ports.network.listen(address, (stream) => {
      if (this.#isClosed) stream.destroy();
      else this.#begin(stream, false);
    });
    return this.#listener.address;
  }

  /** Who is linked with from now on. Links to others are closed. */
  setPeers(peers: readonly PeerAddress[]): void {
    const wanted = new Map(peers.map((peer) => [peer.hostId, peer.address]));
    wanted.delete(this.#own.hostId);
    for (const [hostId, state] of this.#peers) {
      if (wanted.has(hostId)) continue;
      this.#peers.delete(hostId);
      state.timer?.cancel();
      state.link?.close("the host is no peer any more");
    }
    for (const [hostId, address] of wanted) {
      const known = this.#peers.get(hostId);
      if (known === undefined) this.#add(hostId, address);
      else this.#move(known, address);
    }
  }

  #add(hostId: string, address: NetworkAddress): void {
    const state: PeerState = {
      hostId,
      address,
      link: undefined,
      reason: "not linked yet",
      dialDelayMs: DIAL_MS_MIN,
      timer: undefined,
      upSinceMs: 0,
      isDialing: false,
      isProvenDead: false,
      patience: new Patience(),
      roundTrips: new LatencyHistogram(),
      silentSinceMs: undefined,
    };
    this.#peers.set(hostId, state);
    this.#dialSoon(state, 0);
  }

  #move(state: PeerState, address: NetworkAddress): void {
    if (JSON.stringify(state.address) === JSON.stringify(address)) return;
    state.address = address;
    state.isProvenDead = false;
    state.dialDelayMs = DIAL_MS_MIN;
    if (state.link === undefined) this.#dialSoon(state, 0);
  }

  peer(hostId: string): Peer | undefined {
    const state = this.#peers.get(hostId);
    return state && viewOf(state);
  }

  peers(): readonly Peer[] {
    return [...this.#peers.values()].map(viewOf);
  }

  /** The link to a host, while it is up. */
  linkTo(hostId: string): Link | undefined {
    const link = this.#peers.get(hostId)?.link;
    return link?.isUp === true ? link : undefined;
  }

  /**
   * Since the link went down, the host's machine has answered that nobody listens there: the
   * process is gone. A machine that says nothing proves nothing.
   */
  isProvenDead(hostId: string): boolean {
    return this.#peers.get(hostId)?.isProvenDead === true;
  }

  /** What this network tells of a host at this moment. */
  async verdictOn(hostId: string): Promise<HostVerdict> {
    if (this.peer(hostId)?.isUp === true) return "heard";
    return (await this.confirmDead(hostId)) ? "gone" : "silent";
  }

  /**
   * As `isProvenDead`, and its machine says so once more now: what it said before may be about a
   * process that has started since. A machine that is silent now proves nothing.
   */
  async confirmDead(hostId: string): Promise<boolean> {
    const state = this.#peers.get(hostId);
    if (state?.isProvenDead !== true) return false;
    const isRefused = this.#ports.network.connect(state.address).then(
      (stream) => {
        stream.destroy();
        return false;
      },
      (error: unknown) => {
        if (!(error instanceof CodedError)) throw error;
        return error.code === "connection-refused";
      },
    );
    const { clock } = this.#ports;
    const isSilent = new Promise<boolean>((resolve) => {
      const timer = clock.after(CONFIRM_MS, () => resolve(false));
      isRefused.then(
        () => timer.cancel(),
        () => timer.cancel(),
      );
    });
    const isDead = await Promise.race([isRefused, isSilent]);
    if (!isDead) state.isProvenDead = false;
    return isDead && state.link === undefined;
  }

  /**
   * Fails with `host-unreachable`, or as the method does there. The payload leaves in one piece and
   * is copied before this returns.
   */
  async call(
    hostId: string,
    method: string,
    argument: unknown,
    options: { readonly deadlineMs?: number; readonly payload?: readonly Uint8Array[] } = {},
  ): Promise<CallAnswer> {
    const state = this.#peers.get(hostId);
    const link = this.linkTo(hostId);
    if (link === undefined) throw unreachable(hostId, state?.reason ?? "it is not a peer");
    const { deadlineMs = CALL_MS, payload = [] } = options;
    return await link.call(method, argument, deadlineMs, ...payload);
  }

  /**
   * Answers that move data, or tell of everything on this host, are long: few of those are made at
   * once.
   */
  handle(method: string, handler: CallHandler, answers: AnswerLength = "short"): void {
    this.#handlers.set(method, handler);
    if (answers === "long") this.#longAnswers.add(method);
    else this.#longAnswers.delete(method);
  }

  handleMessages(types: readonly number[], handler: MessageHandler): void {
    for (const type of types) this.#messages.set(type, handler);
  }

  /** Returns how to stop. */
  onChange(callback: PeerChange): () => void {
    this.#changes.add(callback);
    return () => this.#changes.delete(callback);
  }

  /** Of messages between hosts, as far as nobody uses it. */
  get keptBytes(): number {
    return this.#ports.chunks.keptBytes;
  }

  get counters(): { bytesIn: number; bytesOut: number; messagesIn: number; messagesOut: number } {
    const total = { ...this.#past };
    for (const { link } of this.#peers.values())
      if (link !== undefined) addTo(total, link.counters);
    return total;
  }

  readonly #past = { bytesIn: 0, bytesOut: 0, messagesIn: 0, messagesOut: 0 };

  async close(): Promise<void> {
    this.#isClosed = true;
    this.setPeers([]);
    for (const link of [...this.#strangers]) link.close("the host is stopping");
    await this.#listener?.close();
  }

  #dialSoon(state: PeerState, delayMs: number): void {
    state.timer?.cancel();
    if (this.#isClosed) return;
    state.timer = this.#ports.clock.after(delayMs, () => {
      this.#dial(state).catch((error: unknown) => {
        const { hostId } = state;
        this.#ports.log.write("error", `dialing failed: ${errorText(error)}`, { hostId });
      });
    });
  }

  /** The higher id only asks whether anybody is there. */
  async #dial(state: PeerState): Promise<void> {
    if (state.link !== undefined || state.isDialing || this.#peers.get(state.hostId) !== state)
      return;
    state.isDialing = true;
    try {
      const stream = await this.#ports.network.connect(state.address);
      state.isProvenDead = false;
      const isLate = state.link !== undefined || this.#peers.get(state.hostId) !== state;
      if (this.#isClosed || isLate || this.#own.hostId > state.hostId) stream.destroy();
      else this.#begin(stream, true, state);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      if (error.code === "connection-refused" && state.link === undefined)
        state.isProvenDead = true;
      state.reason = error.message;
    } finally {
      state.isDialing = false;
    }
    if (state.link === undefined) this.#dialAgain(state);
  }

  #begin(
    stream: Parameters<Parameters<Network["listen"]>[1]>[0],
    isDialer: boolean,
    to?: PeerState,
  ): void {
    const link = new Link(
      stream,
      this.#ports,
      this.#own,
      {
        admit: (hello) => this.#admit(hello, to),
        welcome: (one, hello) => this.#welcome(one, hello),
        call: (one, request) => this.#call(one, request),
        answerLength: (method) => (this.#longAnswers.has(method) ? "long" : "short"),
        message: (one, header, bytes, start, end) => {
          const handler = this.#messages.get(header.type);
          if (handler === undefined) one.violation(`a message of type ${header.type}`);
          else handler(one, header, bytes, start, end);
        },
        down: (one, reason) => this.#down(one, reason, to),
      },
      isDialer,
    );
    this.#strangers.add(link);
    if (to !== undefined) to.link = link;
    link.start();
  }

  #admit(hello: LinkIdentity, to: PeerState | undefined): void {
    if (!this.#peers.has(hello.hostId))
      throw new CodedError({
        code: "link-refused",
        message: `host ${hello.hostId} is not a member of the cluster, as far as is known here`,
      });
    if (to !== undefined && to.hostId !== hello.hostId)
      throw new CodedError({
        code: "link-refused",
        message: `host ${hello.hostId} answers where ${to.hostId} should`,
      });
  }

  #welcome(link: Link, hello: LinkIdentity): void {
    const state = assertDefined(this.#peers.get(hello.hostId), "the host was admitted");
    this.#strangers.delete(link);
    const before = state.link;
    // Told as down first: what was under way on it is lost, and whoever waits for it must know.
    if (before !== undefined && before !== link) before.close("a new link has taken its place");
    state.link = link;
    link.patience = state.patience;
    link.roundTrips = state.roundTrips;
    state.reason = undefined;
    state.isProvenDead = false;
    const nowMs = this.#ports.clock.nowMs();
    state.upSinceMs = nowMs;
    const { silentSinceMs } = state;
    if (silentSinceMs !== undefined && nowMs - silentSinceMs < FALSE_ALARM_MS)
      state.patience.alarmedFalsely(nowMs);
    state.silentSinceMs = undefined;
    this.#tell(state.hostId, true, undefined);
  }

  #down(link: Link, reason: string, to: PeerState | undefined): void {
    this.#strangers.delete(link);
    addTo(this.#past, link.counters);
    const hostId = link.other?.hostId ?? to?.hostId;
    const state = hostId === undefined ? undefined : this.#peers.get(hostId);
    if (state === undefined || state.link !== link) return;
    state.link = undefined;
    state.reason = reason;
    const wasUp = link.other !== undefined;
    if (link.wasSilent) state.silentSinceMs = this.#ports.clock.nowMs();
    if (wasUp && this.#ports.clock.nowMs() - state.upSinceMs >= STABLE_MS)
      state.dialDelayMs = DIAL_MS_MIN;
    if (wasUp) this.#tell(state.hostId, false, reason);
    this.#dialAgain(state);
  }

  #dialAgain(state: PeerState): void {
    const isProbe = this.#own.hostId > state.hostId;
    this.#dialSoon(state, isProbe ? Math.max(PROBE_MS, state.dialDelayMs) : state.dialDelayMs);
    state.dialDelayMs = Math.min(DIAL_MS_MAX, 2 * state.dialDelayMs);
  }

  #tell(hostId: string, isUp: boolean, reason: string | undefined): void {
    for (const callback of [...this.#changes]) callback(hostId, isUp, reason);
  }

  async #call(link: Link, request: CallRequest): Promise<CallAnswer> {
    const handler = this.#handlers.get(request.method);
    const from = link.other?.hostId;
    if (handler === undefined || from === undefined) throw unknownCall(request.method);
    return await handler(request, from);
  }
}

/** What a host answers that is older than the call: whoever asked may do it in the older way. */
export function unknownCall(method: string): CodedError {
  return new CodedError({
    code: "method-unknown",
    message: `this host knows no call named ${method}`,
    hint: "The hosts run different versions: upgrade the older one",
  });
}

function viewOf(state: PeerState): Peer {
  const isUp = state.link?.isUp === true;
  return {
    hostId: state.hostId,
    isUp,
    roundTrips: state.roundTrips,
    incarnation: isUp ? state.link?.other?.incarnation : undefined,
    spokenVersion: isUp ? state.link?.spokenVersion : undefined,
    reason: isUp ? undefined : state.reason,
  };
}

interface Counts {
  bytesIn: number;
  bytesOut: number;
  messagesIn: number;
  messagesOut: number;
}

function addTo(total: Counts, more: Counts): void {
  total.bytesIn += more.bytesIn;
  total.bytesOut += more.bytesOut;
  total.messagesIn += more.messagesIn;
  total.messagesOut += more.messagesOut;
}
