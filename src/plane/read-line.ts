/**
 * The reads that came over one link. What they make this host keep is bounded, whether they are
 * being read or their answers wait to leave: a request is a few bytes, its answer up to a megabyte.
 * Those beyond that wait as what they are.
 */
import { assert } from "../base/index.ts";
import type { Link } from "../link/index.ts";
import type { LocalComponent } from "../store/index.ts";
import type { ServedMemory } from "./served-memory.ts";

/** Of answers that are read or wait to leave, for one link. */
const KEPT_BYTES_MAX = 16 << 20;
/** More than any host has under way to another one. */
const WAITING_MAX = 65_536;

export interface WantedRead {
  readonly requestId: number;
  readonly component: LocalComponent;
  readonly blockIndex: number;
  readonly blockCount: number;
  /** What it takes while it is under way. */
  readonly memoryBytes: number;
}

export class ReadLine {
  readonly #link: Link;
  readonly #memory: ServedMemory;
  readonly #start: (read: WantedRead) => void;
  readonly #waiting: WantedRead[] = [];
  /** Those before it have begun. */
  #first = 0;
  #underWayBytes = 0;
  #isListening = false;
  #isWaitingForMemory = false;
  #isFilling = false;

  /** `start` begins a read that has waited. */
  constructor(link: Link, memory: ServedMemory, start: (read: WantedRead) => void) {
    this.#link = link;
    this.#memory = memory;
    this.#start = start;
  }

  /** Whether a read of this size may begin now; it then has, and `end` has to follow. */
  begin(memoryBytes: number): boolean {
    if (this.#first < this.#waiting.length || !this.#hasRoom(memoryBytes)) return false;
    this.#underWayBytes += memoryBytes;
    return true;
  }

  wait(read: WantedRead): void {
    if (this.#waiting.length - this.#first === WAITING_MAX)
      return this.#link.violation("more reads than any host asks for");
    this.#waiting.push(read);
    this.#listen();
  }

  end(memoryBytes: number): void {
    this.#underWayBytes -= memoryBytes;
    assert(this.#underWayBytes >= 0, "a read ends once");
    this.#fill();
  }

  #hasRoom(memoryBytes: number): boolean {
    const keptBytes = this.#underWayBytes + this.#link.queuedBytes;
    const isBelow = keptBytes === 0 || keptBytes + memoryBytes <= KEPT_BYTES_MAX;
    return isBelow && this.#memory.hasRoom(memoryBytes);
  }

  #fill(): void {
    // A read that ends at once asks for the next one, which the loop begins anyway.
    if (this.#isFilling || !this.#link.isUp) return;
    this.#isFilling = true;
    this.#beginThoseWithRoom();
    this.#isFilling = false;
  }

  #beginThoseWithRoom(): void {
    while (this.#first < this.#waiting.length) {
      const read = this.#waiting[this.#first]!;
      if (!this.#hasRoom(read.memoryBytes)) return this.#listen();
      this.#first++;
      this.#underWayBytes += read.memoryBytes;
      this.#start(read);
    }
    this.#waiting.length = 0;
    this.#first = 0;
  }

  /** What has left makes room for this link, what others have given back for all. */
  #listen(): void {
    if (!this.#isListening) {
      this.#isListening = true;
      this.#link.onceSent(() => {
        this.#isListening = false;
        this.#fill();
      });
    }
    if (this.#isWaitingForMemory) return;
    this.#isWaitingForMemory = true;
    this.#memory.onceGiven(() => {
      this.#isWaitingForMemory = false;
      this.#fill();
    });
  }
}
