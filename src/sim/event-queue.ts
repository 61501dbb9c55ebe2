/** One thing that happens at a virtual time. */
export interface SimEvent {
  timeMs: number;
  /** Breaks ties between equal times: random where the order is shuffled, otherwise equal. */
  readonly tie: number;
  /** Breaks what is left: the order of scheduling. */
  readonly order: number;
  readonly callback: () => void;
  /** The event is dropped if its machine has lost power. */
  readonly scope: SimScope | undefined;
  /** Timers of a clock do not count as work under way. */
  readonly isTimer: boolean;
  isCancelled: boolean;
}

/** What dies together. */
export interface SimScope {
  readonly isOn: boolean;
  /** Whether it stands still, and has taken the event to put it back when it goes on. */
  holds(event: SimEvent): boolean;
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  if (a.timeMs !== b.timeMs) return a.timeMs < b.timeMs;
  if (a.tie !== b.tie) return a.tie < b.tie;
  return a.order < b.order;
}

/** A binary heap of events, earliest first. */
export class EventQueue {
  readonly #heap: SimEvent[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** Those that will happen. */
  countLive(): number {
    let count = 0;
    for (const event of this.#heap) if (!event.isCancelled && event.scope?.isOn !== false) count++;
    return count;
  }

  peek(): SimEvent | undefined {
    return this.#heap[0];
  }

  push(event: SimEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent]!;
      if (!isBefore(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  pop(): SimEvent | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}
