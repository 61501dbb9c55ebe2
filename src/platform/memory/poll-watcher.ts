/**
 * Calls back on the libuv loop of the current thread, main or worker, when a file descriptor
 * becomes readable. Node has no interface for this; libuv's own is reached through the node
 * binary's exports.
 *
 * The condition is level triggered: the callback comes again until the descriptor is no longer
 * readable. Microtasks run after it as after any event. An error thrown in it is an uncaught
 * exception.
 *
 * A thread that ends with an open handle aborts the whole process, so whatever is still open is
 * given up when the thread exits. `worker.terminate()` runs no exit handlers: ask a worker to end
 * instead.
 */
import { assert, assertDefined } from "../../base/index.ts";
import { PAGE_BYTES, UvPolls, mapAnonymous, uvPollBytes, uvRef, uvUnref } from "../sys.ts";

assert(uvPollBytes <= PAGE_BYTES, "a poll handle fits into a page");

const watchers = new Map<number, PollWatcher>();
const closing = new Map<number, () => void>();
/** Memory of closed handles, for the next ones. */
const freeHandles: number[] = [];
let polls: UvPolls | undefined;

function pollsOfThread(): UvPolls {
  if (polls !== undefined) return polls;
  const created = new UvPolls(
    (handle) => callBack(watchers.get(handle)),
    (handle) => {
      freeHandles.push(handle);
      const resolve = closing.get(handle);
      closing.delete(handle);
      // The loop may be about to end, without running microtasks after this callback.
      setImmediate(assertDefined(resolve, "a closed handle was being closed"));
    },
  );
  process.once("exit", () => {
    for (const [handle, watcher] of watchers) {
      created.abandon(handle);
      watcher.onThreadExit();
    }
    watchers.clear();
  });
  polls = created;
  return created;
}

/** An error must not unwind through libuv: a worker would end without closing its handles. */
function callBack(watcher: PollWatcher | undefined): void {
  try {
    watcher?.onReadable();
  } catch (error) {
    setImmediate(() => {
      throw error;
    });
  }
}

export class PollWatcher {
  readonly onReadable: () => void;
  /** Called when the thread ends and the watcher is still open. */
  readonly onThreadExit: () => void;
  readonly #handle: number;
  #referenced = true;

  constructor(fd: number, onReadable: () => void, onThreadExit: () => void) {
    this.onReadable = onReadable;
    this.onThreadExit = onThreadExit;
    this.#handle = freeHandles.pop() ?? mapAnonymous(PAGE_BYTES);
    pollsOfThread().start(this.#handle, fd);
    watchers.set(this.#handle, this);
    this.keepProcessAlive(false);
  }

  /** Whether the process waits for this watcher; not at first. */
  keepProcessAlive(wanted: boolean): void {
    if (wanted === this.#referenced) return;
    this.#referenced = wanted;
    if (wanted) uvRef(this.#handle);
    else uvUnref(this.#handle);
  }

  /** No callback comes after the call. Resolves when the loop has let go of the handle. */
  close(): Promise<void> {
    assert(watchers.delete(this.#handle), "a watcher is closed once");
    return new Promise((resolve) => {
      closing.set(this.#handle, resolve);
      pollsOfThread().close(this.#handle);
    });
  }
}
