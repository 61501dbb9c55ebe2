/** Who waits for records to be durable, in the order of the records. */
import type { ComponentFault } from "./component.ts";

/** Whoever waits for a record to be durable. */
export interface JournalWaiter {
  recordDurable(sequence: number, tag: number, fault: ComponentFault | undefined): void;
}

export interface JournalTicket {
  readonly waiter: JournalWaiter;
  readonly tag: number;
}

export class JournalWaiters {
  #waiters: JournalWaiter[] = [];
  #sequences: number[] = [];
  #tags: number[] = [];

  get count(): number {
    return this.#waiters.length;
  }

  push({ waiter, tag }: JournalTicket, sequence: number): void {
    this.#waiters.push(waiter);
    this.#sequences.push(sequence);
    this.#tags.push(tag);
  }

  /** Tells the first `count` and forgets them. They may append while they are told. */
  tell(count: number, fault: ComponentFault | undefined): void {
    const waiters = this.#waiters;
    const sequences = this.#sequences;
    const tags = this.#tags;
    this.#waiters = waiters.slice(count);
    this.#sequences = sequences.slice(count);
    this.#tags = tags.slice(count);
    for (let i = 0; i < count; i++) waiters[i]!.recordDurable(sequences[i]!, tags[i]!, fault);
  }
}
