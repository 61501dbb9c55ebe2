/** An eventfd that two processes have. */
import { readlinkSync } from "node:fs";
import { assert, CodedError } from "../base/index.ts";
import type { RemoteEvent } from "../ports/index.ts";
import { PollWatcher } from "./poll-watcher.ts";
import { addToCounter, clearCounter, setNonBlocking } from "./shared-sys.ts";
import { closeDescriptor, openEventFd } from "./sys.ts";

const LINK = "anon_inode:[eventfd]";

export class EventCounter implements RemoteEvent {
  readonly fd: number;
  #watcher: PollWatcher | undefined;
  #isClosed = false;

  private constructor(fd: number) {
    this.fd = fd;
  }

  static create(): EventCounter {
    return new EventCounter(openEventFd());
  }

  /** Fails with `event-invalid`; the descriptor is closed then. */
  static receive(fd: number): EventCounter {
    // Writing to anything else might wait for ever, or reach somewhere.
    const link = readlinkSync(`/proc/self/fd/${fd}`);
    if (link === LINK) {
      setNonBlocking(fd);
      return new EventCounter(fd);
    }
    closeDescriptor(fd);
    throw new CodedError({
      code: "event-invalid",
      message: `a client sent something else where an eventfd is expected: ${link}`,
    });
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
    addToCounter(this.fd);
  }

  close(): void {
    assert(!this.#isClosed, "an event is closed once");
    this.#isClosed = true;
    // The loop has let go of the descriptor when the call returns; what is left is its memory.
    void this.#watcher?.close();
    closeDescriptor(this.fd);
  }
}
