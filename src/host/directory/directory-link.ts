/**
 * The main thread's directory, for the data worker: `RemoteDirectory` is a Directory whose calls
 * cross the port, `directoryMethods` serves them on the other side.
 */
import type {
  Directory,
  DirectoryCondition,
  DirectoryEvent,
  DirectoryOutcome,
  DirectoryRecord,
  DirectoryStamp,
  DirectoryWatch,
  DirectoryWrite,
  LeaseId,
} from "../../ports/index.ts";
import type { ControlMethods, DirectoryListing, WatchMethods } from "../data/data-plane-port.ts";
import type { RpcPeer } from "../data/rpc.ts";

type DirectoryCalls = Pick<
  ControlMethods,
  | "directoryGet"
  | "directoryList"
  | "directoryStamp"
  | "directoryTransact"
  | "directoryWatch"
  | "directoryUnwatch"
  | "directoryGrantLease"
  | "directoryKeepAlive"
  | "directoryRevokeLease"
>;

/** The part of the peer that is used. */
type Caller = Pick<RpcPeer<object, ControlMethods>, "call">;

interface Watcher {
  readonly onEvent: (event: DirectoryEvent) => void;
  readonly onLost: () => void;
}

export class RemoteDirectory implements Directory {
  readonly #peer: () => Caller;
  readonly #watchers = new Map<number, Watcher>();
  #nextWatchId = 1;

  /** `peer` is asked for at the first call: the peer serves `watchMethods` and so comes second. */
  constructor(peer: () => Caller) {
    this.#peer = peer;
  }

  readonly watchMethods: WatchMethods = {
    watchEvent: async ({ watchId, event }) => this.#watchers.get(watchId)?.onEvent(event),
    watchLost: async (watchId) => {
      const watcher = this.#watchers.get(watchId);
      this.#watchers.delete(watchId);
      watcher?.onLost();
    },
  };

  get(key: string): Promise<DirectoryRecord | undefined> {
    return this.#peer().call("directoryGet", key);
  }

  list(prefix: string): Promise<DirectoryListing> {
    return this.#peer().call("directoryList", prefix);
  }

  stamp(prefix: string): Promise<DirectoryStamp> {
    return this.#peer().call("directoryStamp", prefix);
  }

  transact(
    conditions: readonly DirectoryCondition[],
    writes: readonly DirectoryWrite[],
  ): Promise<DirectoryOutcome> {
    return this.#peer().call("directoryTransact", { conditions, writes });
  }

  watch(
    prefix: string,
    fromRevision: number,
    onEvent: (event: DirectoryEvent) => void,
    onLost: () => void,
  ): DirectoryWatch {
    const watchId = this.#nextWatchId++;
    this.#watchers.set(watchId, { onEvent, onLost });
    this.#peer()
      .call("directoryWatch", { watchId, prefix, fromRevision })
      .catch(() => void this.watchMethods.watchLost(watchId));
    return {
      cancel: () => {
        if (!this.#watchers.delete(watchId)) return;
        // If the other thread is gone, so is the watch.
        this.#peer()
          .call("directoryUnwatch", watchId)
          .catch(() => undefined);
      },
    };
  }

  grantLease(ttlMs: number): Promise<LeaseId> {
    return this.#peer().call("directoryGrantLease", ttlMs);
  }

  keepAlive(lease: LeaseId): Promise<number> {
    return this.#peer().call("directoryKeepAlive", lease);
  }

  revokeLease(lease: LeaseId): Promise<void> {
    return this.#peer().call("directoryRevokeLease", lease);
  }

  /** The directory itself is the other thread's to close. */
  async close(): Promise<void> {
    this.#watchers.clear();
  }
}

/**
 * `send` reaches the data worker's `watchMethods`; what it cannot deliver any more is of no use.
 */
export function directoryMethods(
  directory: Directory,
  send: Pick<RpcPeer<object, WatchMethods>, "call">["call"],
): DirectoryCalls {
  const watches = new Map<number, DirectoryWatch>();
  return {
    directoryGet: (key) => directory.get(key),
    directoryList: (prefix) => directory.list(prefix),
    directoryStamp: (prefix) => directory.stamp(prefix),
    directoryTransact: ({ conditions, writes }) => directory.transact(conditions, writes),
    directoryWatch: async ({ watchId, prefix, fromRevision }) => {
      const watch = directory.watch(
        prefix,
        fromRevision,
        (event) => void send("watchEvent", { watchId, event }).catch(() => watch.cancel()),
        () => void send("watchLost", watchId).catch(() => undefined),
      );
      watches.set(watchId, watch);
    },
    directoryUnwatch: async (watchId) => {
      watches.get(watchId)?.cancel();
      watches.delete(watchId);
    },
    directoryGrantLease: (ttlMs) => directory.grantLease(ttlMs),
    directoryKeepAlive: (lease) => directory.keepAlive(lease),
    directoryRevokeLease: (lease) => directory.revokeLease(lease),
  };
}
