/**
 * An eventfd that two processes have. The other one may fill it up, empty it, and make its
 * descriptor block, at any moment: nothing here waits all the same. Where io_uring is forbidden
 * that is left to the descriptor being non-blocking, which the other process can change.
 */
import { readlinkSync } from "node:fs";
import { assert, CodedError } from "../../base/index.ts";
import type { RemoteEvent } from "../../ports/index.ts";
import { EventSignal } from "./event-signal.ts";
import { PollWatcher } from "./poll-watcher.ts";
import { addToCounter, clearCounter, setNonBlocking } from "./shared-sys.ts";
import { closeDescriptor, openEventFd, SystemCallError } from "../sys.ts";

const LINK = "anon_inode:[eventfd]";

export class EventCounter implements RemoteEvent {
  readonly fd: number;
  #watcher: PollWatcher | undefined;
  /** Made at the first signal; null where there is none. */
  #signal: EventSignal | null | undefined;
  #isClosed = false;

  private constructor(fd: number) {
    this.fd = fd;
  }

  static create(): EventCounter {
    return new EventCounter(openEventFd());
  }

  /** Fails with `event-invalid`; the descriptor is closed then. */
  static receive(fd: number): EventCounter {
    try {
      // Writing to anything else might wait for ever, or reach somewhere.
      const link = readlinkSync(`/proc/self/fd/${fd}`);
      if (link !== LINK) throw noEvent(link);
      setNonBlocking(fd);
      return new EventCounter(fd);
    } catch (error) {
      closeDescriptor(fd);
      throw error;
    }
  }

  watch(onSignal: () => void): void {
    assert(!this.#isClosed && this.#watcher === undefined, "an event is watched once");
    const { fd } = this;
    const onReadable = (): void => {
      clearCounter(fd);
      onSignal();
    };
    this.#watcher = new PollWatcher(fd, onReadable, () => undefined);
  }

  signal(): void {
    assert(!this.#isClosed, "a closed event is not signalled");
    if (this.#signal === undefined) this.#signal = signalOf(this.fd);
    if (this.#signal === null) addToCounter(this.fd);
    else this.#signal.signal();
  }

  close(): void {
    assert(!this.#isClosed, "an event is closed once");
    this.#isClosed = true;
    // The loop has let go of the descriptor when the call returns; what is left is its memory.
    void this.#watcher?.close();
    this.#signal?.close();
    closeDescriptor(this.fd);
  }
}

function noEvent(link: string): CodedError {
  return new CodedError({
    code: "event-invalid",
    message: `a client sent something else where an eventfd is expected: ${link}`,
  });
}

function signalOf(fd: number): EventSignal | null {
  try {
    return new EventSignal(fd);
  } catch (error) {
    if (error instanceof SystemCallError) return null;
    throw error;
  }
}
