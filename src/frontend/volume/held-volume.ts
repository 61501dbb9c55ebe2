/**
 * A volume whose source may stop and come back, here or elsewhere, without its clients noticing
 * more than a pause. It keeps copies of the writes under way; when the source stops it holds all
 * requests, asks for another source, and issues again what was not answered.
 *
 * Why nothing is lost or reordered: a request is issued only when no earlier overlapping one is
 * unanswered (`OrderedRequests`). So whatever is unanswered at a stop overlaps with nothing that
 * was answered after it was called, and with nothing else that is under way: issuing it again,
 * whether it had taken effect or not, gives the same contents. A request is issued again only after
 * the old source has answered it, so no source writes into a target that another one fills.
 *
 * What it needs: once `reopen` has resolved, the source before must not change data any more. For
 * owners their epochs see to that.
 */
import { assert, CodedError, errorText, SECTOR_SIZE_BYTES } from "../../base/index.ts";
import type { Extent, IoDone, IoFault, VolumeIo } from "../../object/index.ts";
import type { Clock, DiskMemory, Log, Timer } from "../../ports/index.ts";
import { HEADROOM_BYTES } from "./payload-buffers.ts";
import { checkRange, OrderedRequests, VolumeRequest } from "./ordered-requests.ts";
import type { RequestKind, RequestOwner } from "./ordered-requests.ts";
import { RepeatedAttempts } from "./repeated-attempts.ts";

const DEADLINE_MS = 60_000;
const NEVER = -1;

export interface HeldVolumePorts {
  readonly clock: Clock;
  readonly log: Log;
}

export interface HeldVolumeOptions {
  readonly name: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Memory that every source can read into. */
  readonly allocate: (lengthBytes: number) => DiskMemory;
  /** Undefined: requests are held from the start, until `reopen` gives the first source. */
  readonly volume: VolumeIo | undefined;
  /**
   * The next source. Called again, later and later, while it fails; it may give the same one again.
   * It must be as large as the last one and as writable.
   */
  readonly reopen: () => Promise<VolumeIo>;
  /** How long requests are held before they fail with `io-error`. Default: 60 s. */
  readonly deadlineMs?: number;
}

/** `failing`: the deadline has passed; requests are refused until there is a source again. */
export type HeldState = "open" | "holding" | "failing" | "closed";

class HeldRequest extends VolumeRequest {
  isIssued = false;
  /** Counts the sources: the one it was issued to. */
  source = 0;
  /** When it was first held. */
  heldSinceMs: number = NEVER;
}

export class HeldVolume implements VolumeIo, RequestOwner<HeldRequest> {
  readonly name: string;
  readonly readOnly: boolean;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: HeldVolumeOptions;
  readonly #deadlineMs: number;
  readonly #requests = new OrderedRequests<HeldRequest>(this);
  #sizeBytes: number;
  #volume: VolumeIo | undefined;
  #source = 0;
  /** Started, and not issued for want of a source. */
  #held: HeldRequest[] = [];
  /** When the last source that had answered anything stopped. */
  #stoppedMs: number = NEVER;
  #deadline: Timer | undefined;
  #isOverdue = false;
  readonly #reopening: RepeatedAttempts<VolumeIo>;
  #reopenCount = 0;
  /** Calls for extents that wait for a source or for a refusal. */
  #waiters: (() => void)[] = [];
  #isSubmitWanted = false;
  /** The source that will say when it has room. */
  #roomAskedOf: VolumeIo | undefined;
  #isClosed = false;
  #closeFault: IoFault = "shutting-down";
  #drained: (() => void) | undefined;

  constructor(ports: HeldVolumePorts, options: HeldVolumeOptions) {
    assert(options.sizeBytes % SECTOR_SIZE_BYTES === 0, "a volume is a whole number of sectors");
    this.name = options.name;
    this.readOnly = options.readOnly;
    this.#clock = ports.clock;
    this.#log = ports.log;
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
    this.#sizeBytes = options.sizeBytes;
    this.#volume = options.volume;
    this.#reopening = new RepeatedAttempts(ports.clock, {
      attempt: () => this.#reopen(),
      attemptSucceeded: (volume) => this.#adopt(volume),
      attemptFailed: (error, failureCount) => this.#reopenFailed(error, failureCount),
    });
    if (this.#volume === undefined) this.#beginHolding();
  }

  get sizeBytes(): number {
    return this.#volume?.sizeBytes ?? this.#sizeBytes;
  }

  get state(): HeldState {
    if (this.#isClosed) return "closed";
    if (this.#volume !== undefined) return "open";
    return this.#isOverdue ? "failing" : "holding";
  }

  /** Sources that followed another one. */
  get reopenCount(): number {
    return this.#reopenCount;
  }

  allocate(lengthBytes: number): DiskMemory {
    return this.#options.allocate(lengthBytes);
  }

  read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    assert(targetAt + lengthBytes <= target.bytes.length, "the target is too short");
    const request = this.#accept("read", offset, lengthBytes, done, token);
    if (request === undefined) return;
    request.target = target;
    request.targetAt = targetAt;
    this.#requests.enter(request);
  }

  readNow(target: DiskMemory, targetAt: number, lengthBytes: number, offset: number): boolean {
    const volume = this.#volume;
    if (volume === undefined || this.#isClosed) return false;
    // A change that waits here is not known there.
    if (this.#requests.isChanging(offset, offset + lengthBytes)) return false;
    return volume.readNow(target, targetAt, lengthBytes, offset);
  }

  write(
    source: Uint8Array,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    assert(!this.readOnly, "a read-only volume is not written to");
    const request = this.#accept("write", offset, lengthBytes, done, token);
    if (request === undefined) return;
    this.#requests.copyPayload(request, source, sourceAt);
    this.#requests.enter(request);
  }

  discard(offset: number, lengthBytes: number, done: IoDone, token: number): void {
    this.#zero("discard", offset, lengthBytes, done, token);
  }

  writeZeroes(
    offset: number,
    lengthBytes: number,
    keepAllocated: boolean,
    done: IoDone,
    token: number,
  ): void {
    this.#zero(keepAllocated ? "zero" : "discard", offset, lengthBytes, done, token);
  }

  /** What is acknowledged is durable: nothing has to be asked of the source. */
  flush(done: IoDone, token: number): void {
    this.#requests.flush(done, token);
  }

  async extents(
    offset: number,
    lengthBytes: number,
    extentsMax: number,
  ): Promise<readonly Extent[]> {
    checkRange(offset, lengthBytes, this.sizeBytes);
    const endMs = this.#clock.nowMs() + this.#deadlineMs;
    for (;;) {
      const volume = this.#volume ?? (await this.#nextSource());
      try {
        return await volume.extents(offset, lengthBytes, extentsMax);
      } catch (error) {
        if (!isStop(error) || this.#clock.nowMs() >= endMs) throw error;
        this.sourceStopped(volume, errorText(error));
      }
    }
  }

  hasRoom(): boolean {
    return this.#requests.hasRoom();
  }

  onRoom(callback: () => void): void {
    this.#requests.onRoom(callback);
  }

  submit(): void {
    this.#isSubmitWanted = false;
    this.#volume?.submit();
  }

  /**
   * For whoever learns of a stop before a request does, and before a planned one: nothing new is
   * issued to `volume`. It does nothing if that is not the source any more.
   */
  sourceStopped(volume: VolumeIo, reason: string): void {
    if (volume !== this.#volume) return;
    this.#sizeBytes = volume.sizeBytes;
    this.#volume = undefined;
    this.#log.write("warning", "a volume's source stopped: requests are held", {
      volume: this.name,
      reason,
    });
    this.#beginHolding();
  }

  /**
   * Refuses what is held and everything new; resolves when the source has answered what it has. The
   * source itself is its opener's to close.
   */
  close(fault: IoFault = "shutting-down"): Promise<void> {
    this.#isClosed = true;
    this.#closeFault = fault;
    this.#deadline?.cancel();
    this.#reopening.cancel();
    this.#refuseHeld(fault);
    if (this.#requests.unansweredCount === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const previous = this.#drained;
      this.#drained = () => {
        previous?.();
        resolve();
      };
    });
  }

  // For the table of requests.

  makeRequest(slot: number): HeldRequest {
    return new HeldRequest(slot);
  }

  start(request: HeldRequest): void {
    request.heldSinceMs = NEVER;
    this.#proceed(request);
  }

  flushFault(): IoFault | undefined {
    return this.#refusal();
  }

  mayTakeMore(): boolean {
    const volume = this.#volume;
    if (volume === undefined || volume.hasRoom()) return true;
    if (this.#requests.isRoomWanted && this.#roomAskedOf !== volume) {
      this.#roomAskedOf = volume;
      volume.onRoom(() => {
        if (this.#roomAskedOf === volume) this.#roomAskedOf = undefined;
        this.#requests.scheduleTurnEnd();
      });
    }
    return false;
  }

  turnEnded(): void {
    if (this.#isSubmitWanted) this.submit();
    if (!this.#isClosed || this.#requests.unansweredCount > 0) return;
    const drained = this.#drained;
    this.#drained = undefined;
    drained?.();
  }

  #zero(kind: RequestKind, offset: number, lengthBytes: number, done: IoDone, token: number): void {
    assert(!this.readOnly, "a read-only volume is not written to");
    const request = this.#accept(kind, offset, lengthBytes, done, token);
    if (request !== undefined) this.#requests.enter(request);
  }

  /** A request to go on with, or undefined if it has been answered. */
  #accept(
    kind: RequestKind,
    offset: number,
    lengthBytes: number,
    done: IoDone,
    token: number,
  ): HeldRequest | undefined {
    checkRange(offset, lengthBytes, this.sizeBytes);
    const refusal = this.#refusal();
    if (refusal === undefined && lengthBytes > 0)
      return this.#requests.take(kind, offset, lengthBytes, done, token);
    this.#requests.answerLater(done, token, refusal);
    return undefined;
  }

  #refusal(): IoFault | undefined {
    if (this.#isClosed) return this.#closeFault;
    return this.#isOverdue && this.#volume === undefined ? "io-error" : undefined;
  }

  #issue(request: HeldRequest, volume: VolumeIo): void {
    assert(!request.isIssued, "a request is issued to one source at a time");
    request.isIssued = true;
    request.source = this.#source;
    const { kind, offset, lengthBytes, slot } = request;
    if (kind === "read") {
      const { target, targetAt } = request;
      assert(target !== undefined, "a read has a target");
      volume.read(target, targetAt, lengthBytes, offset, this.#answered, slot);
    } else if (kind === "write") {
      const { payload } = request;
      assert(payload !== undefined, "a write has a payload");
      const { bytes } = payload;
      volume.write(bytes, HEADROOM_BYTES, lengthBytes, offset, this.#answered, slot);
    } else if (kind === "discard") volume.discard(offset, lengthBytes, this.#answered, slot);
    else volume.writeZeroes(offset, lengthBytes, true, this.#answered, slot);
    if (this.#requests.isInCall) return; // The caller will submit.
    this.#isSubmitWanted = true;
    this.#requests.scheduleTurnEnd();
  }

  readonly #answered = (slot: number, fault: IoFault | undefined): void => {
    const request = this.#requests.get(slot);
    assert(request.isIssued, "a source answers a request once");
    request.isIssued = false;
    if (fault === "not-owner" || fault === "unreachable") this.#bounced(request, fault);
    else {
      if (this.#stoppedMs !== NEVER && request.source === this.#source) this.#provenOpen();
      this.#finish(request, fault);
    }
  };

  /**
   * Whether it was done is unknown: it goes to the next source, or to one that is there already.
   */
  #bounced(request: HeldRequest, fault: IoFault): void {
    const volume = this.#volume;
    if (volume !== undefined && request.source === this.#source) this.sourceStopped(volume, fault);
    // One request may bounce for ever while others prove every new source good.
    const nowMs = this.#clock.nowMs();
    if (request.heldSinceMs === NEVER) request.heldSinceMs = nowMs;
    if (nowMs - request.heldSinceMs >= this.#deadlineMs) this.#finish(request, "io-error");
    else this.#proceed(request);
  }

  #proceed(request: HeldRequest): void {
    const volume = this.#volume;
    const refusal = this.#refusal();
    if (volume !== undefined) this.#issue(request, volume);
    else if (refusal !== undefined) this.#finish(request, refusal);
    else this.#held.push(request);
  }

  #finish(request: HeldRequest, fault: IoFault | undefined): void {
    this.#requests.finish(request, fault);
    this.#requests.release(request);
    if (this.#isClosed) this.#requests.scheduleTurnEnd();
  }

  #refuseHeld(fault: IoFault): void {
    const held = this.#held;
    this.#held = [];
    // Those that waited for these are refused when they start.
    for (const request of held) this.#finish(request, fault);
    this.#wakeWaiters();
  }

  #beginHolding(): void {
    if (this.#isClosed) return;
    if (this.#stoppedMs === NEVER) {
      this.#stoppedMs = this.#clock.nowMs();
      this.#deadline = this.#clock.after(this.#deadlineMs, () => this.#deadlinePassed());
    }
    this.#reopening.start();
  }

  #deadlinePassed(): void {
    this.#isOverdue = true;
    if (this.#volume !== undefined) return; // There is a source; it has not answered yet.
    this.#log.write("error", "a volume has had no source for too long: requests fail", {
      volume: this.name,
      deadlineMs: this.#deadlineMs,
      requests: this.#held.length,
    });
    this.#refuseHeld("io-error");
  }

  async #reopen(): Promise<VolumeIo> {
    const volume = await this.#options.reopen();
    if (volume.sizeBytes < this.#sizeBytes || (volume.readOnly && !this.readOnly)) {
      throw new CodedError({
        code: "object-inaccessible",
        message: `the next source of ${this.name} has ${volume.sizeBytes} bytes and is ${
          volume.readOnly ? "read-only" : "writable"
        }, which is less than the last one had`,
        hint: "check that both serve the same volume",
      });
    }
    return volume;
  }

  #reopenFailed(error: unknown, failureCount: number): void {
    // Bugs are loud every time; of what the world does, the first one and the later ones now and
    // then.
    const isBug = !(error instanceof CodedError);
    if (!isBug && failureCount > 1 && failureCount % 16 !== 0) return;
    this.#log.write(isBug ? "error" : "warning", "a volume has no source", {
      volume: this.name,
      cause: errorText(error),
      attempts: failureCount,
    });
  }

  #adopt(volume: VolumeIo): void {
    if (this.#isClosed) return;
    this.#volume = volume;
    this.#source++;
    this.#reopenCount++;
    const held = this.#held;
    this.#held = [];
    for (const request of held) this.#issue(request, volume);
    if (held.length === 0) this.#provenOpen();
    this.#wakeWaiters();
    this.#requests.scheduleTurnEnd();
  }

  /** The source has answered something, or there is nothing that it could prove itself with. */
  #provenOpen(): void {
    this.#log.write("info", "a volume has a source again", {
      volume: this.name,
      pauseMs: Math.round(this.#clock.nowMs() - this.#stoppedMs),
    });
    this.#stoppedMs = NEVER;
    this.#isOverdue = false;
    this.#deadline?.cancel();
    this.#reopening.forgetFailures();
  }

  async #nextSource(): Promise<VolumeIo> {
    for (;;) {
      if (this.#volume !== undefined) return this.#volume;
      const refusal = this.#refusal();
      if (refusal !== undefined)
        throw new CodedError({ code: refusal, message: `${this.name} has no source` });
      await new Promise<void>((resolve) => {
        this.#waiters.push(resolve);
      });
    }
  }

  #wakeWaiters(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }
}

function isStop(error: unknown): boolean {
  return (
    error instanceof CodedError && (error.code === "not-owner" || error.code === "unreachable")
  );
}
