/**
 * One watch that outlives its connections: it goes on at the revision after the last event, at
 * another endpoint if need be. etcd answers with whole revisions, so nothing comes twice.
 */
import { errorText } from "../../base/index.ts";
import type { DirectoryEvent, DirectoryWatch } from "../../ports/index.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { errorOf } from "./etcd-endpoint.ts";
import type { EtcdEndpoint, EtcdStream } from "./etcd-endpoint.ts";
import { EtcdFields, prefixRange, recordOf } from "./etcd-wire.ts";

const PAUSE_MS_MIN = 20;
const PAUSE_MS_MAX = 1000;

export interface EtcdWatchOptions {
  readonly client: EtcdClient;
  readonly prefix: string;
  readonly fromRevision: number;
  /** Keys that are not the caller's business. */
  readonly isHidden: (key: string) => boolean;
  readonly onEvent: (event: DirectoryEvent) => void;
  readonly onLost: () => void;
  /** Called once when it is over, for whatever reason. */
  readonly onOver: () => void;
}

export class EtcdWatch implements DirectoryWatch {
  readonly #options: EtcdWatchOptions;
  #nextRevision: number;
  #isOver = false;
  #stream: EtcdStream | undefined;
  #endpoint: EtcdEndpoint | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pauseMs = PAUSE_MS_MIN;

  constructor(options: EtcdWatchOptions) {
    this.#options = options;
    this.#nextRevision = options.fromRevision;
    void this.#connect();
  }

  cancel(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#disconnect();
    this.#options.onOver();
  }

  async #connect(): Promise<void> {
    const { client, prefix } = this.#options;
    const endpoint = client.pick();
    const create_request = {
      ...prefixRange(prefix),
      start_revision: String(this.#nextRevision),
      progress_notify: true,
    };
    try {
      let isOpen = true;
      const stream = await client.open(
        endpoint,
        "watch",
        { create_request },
        {
          line: (line) => this.#received(line),
          ended: (reason) => {
            isOpen = false;
            this.#failed(endpoint, reason);
          },
        },
      );
      if (this.#isOver || !isOpen) return stream.destroy();
      this.#stream = stream;
      this.#endpoint = endpoint;
      endpoint.leavers.add(this.#leave);
      const tooLong = `the watch did not begin within ${client.requestTimeoutMs} ms`;
      this.#timer = setTimeout(() => this.#failed(endpoint, tooLong), client.requestTimeoutMs);
    } catch (error) {
      this.#failed(endpoint, errorText(error));
    }
  }

  #disconnect(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#stream?.destroy();
    this.#stream = undefined;
    this.#endpoint?.leavers.delete(this.#leave);
    this.#endpoint = undefined;
  }

  readonly #leave = (): void => this.#reconnect();

  #failed(endpoint: EtcdEndpoint, reason: string): void {
    if (this.#isOver) return;
    // First away from the endpoint, which is about to tell all that hold streams to leave it.
    this.#reconnect();
    this.#options.client.streamFailed(endpoint, reason);
  }

  #reconnect(): void {
    if (this.#isOver) return;
    this.#disconnect();
    this.#timer = setTimeout(() => void this.#connect(), this.#pauseMs);
    this.#pauseMs = Math.min(PAUSE_MS_MAX, this.#pauseMs * 2);
  }

  #received(line: string): void {
    const endpoint = this.#endpoint;
    if (this.#isOver || endpoint === undefined) return;
    let events: readonly DirectoryEvent[];
    try {
      const answer = EtcdFields.parse(line);
      const error = errorOf(answer);
      if (error !== undefined) throw error;
      const result = answer.child("result");
      if (result.flag("canceled")) return this.#canceled(result, endpoint);
      clearTimeout(this.#timer);
      this.#pauseMs = PAUSE_MS_MIN;
      events = result.children("events").map(eventOf);
      if (events.length === 0 && !result.flag("created")) this.#progressed(result);
    } catch (error) {
      // It may have been the token.
      this.#options.client.forgetToken();
      return this.#failed(endpoint, errorText(error));
    }
    this.#deliver(events);
  }

  /** Everything up to this revision has been delivered; more of it may be compacted. */
  #progressed(result: EtcdFields): void {
    const revision = result.child("header").integer("revision");
    this.#nextRevision = Math.max(this.#nextRevision, revision + 1);
  }

  #canceled(result: EtcdFields, endpoint: EtcdEndpoint): void {
    if (result.integer("compact_revision") > 0) {
      this.cancel();
      this.#options.onLost();
      return;
    }
    this.#options.client.forgetToken();
    this.#failed(endpoint, result.text("cancel_reason") || "the watch was refused");
  }

  #deliver(events: readonly DirectoryEvent[]): void {
    for (const event of events) {
      const { key, revision } = event.kind === "put" ? event.record : event;
      if (revision < this.#nextRevision) continue;
      if (!this.#options.isHidden(key)) this.#options.onEvent(event);
      if (this.#isOver) return;
    }
    const last = events.at(-1);
    if (last === undefined) return;
    const revision = last.kind === "put" ? last.record.revision : last.revision;
    this.#nextRevision = Math.max(this.#nextRevision, revision + 1);
  }
}

function eventOf(event: EtcdFields): DirectoryEvent {
  const record = recordOf(event.child("kv"));
  if (event.text("type") !== "DELETE") return { kind: "put", record };
  return { kind: "delete", key: record.key, revision: record.revision };
}
