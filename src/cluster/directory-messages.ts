/**
 * What a served directory and its clients say to each other. Both check all of it: the other end
 * may be of another version, or no directory at all.
 *
 * A client says hello, names the session it had if it had one, and is told its session. Calls have
 * numbers that grow within a session. The server keeps the answers of those that change something
 * until the client has them, so a call that is sent again on the next connection is not made again.
 */
import { CodedError } from "../base/index.ts";
import type { Fault } from "../base/index.ts";
import { DIRECTORY_CONDITIONS_MAX, DIRECTORY_WRITES_MAX } from "../ports/index.ts";
import type {
  DirectoryCondition,
  DirectoryEvent,
  DirectoryRecord,
  DirectoryWrite,
  LeaseId,
} from "../ports/index.ts";
import { RecordFields } from "./record-fields.ts";

/** Only ends of the same version talk to each other: they are parts of one development cluster. */
export const PROTOCOL = 1;
const NUMBER_MAX = Number.MAX_SAFE_INTEGER;
/** Of records or events in one message; a frame's limit comes first. */
const ITEMS_MAX = 100_000;

export type Call =
  | { readonly method: "get"; readonly key: string }
  /** A server that does not know `isStampOnly` answers with the records, which tell the stamp. */
  | { readonly method: "list"; readonly prefix: string; readonly isStampOnly?: boolean }
  | {
      readonly method: "transact";
      readonly conditions: readonly DirectoryCondition[];
      readonly writes: readonly DirectoryWrite[];
    }
  | { readonly method: "grant-lease"; readonly ttlMs: number }
  | { readonly method: "keep-alive"; readonly lease: LeaseId }
  | { readonly method: "revoke-lease"; readonly lease: LeaseId };

export type ClientMessage =
  | { readonly kind: "hello"; readonly protocol: number; readonly session?: string }
  /** `settled`: all calls with lower numbers have been answered. */
  | { readonly kind: "call"; readonly id: number; readonly settled: number; readonly call: Call }
  | {
      readonly kind: "watch";
      readonly watch: number;
      readonly prefix: string;
      readonly fromRevision: number;
    }
  | { readonly kind: "unwatch"; readonly watch: number }
  | { readonly kind: "ping" }
  | { readonly kind: "bye" };

export interface Answer {
  /** Of the record, of the listing, of the transaction. */
  readonly revision?: number;
  readonly succeeded?: boolean;
  readonly lease?: LeaseId;
  readonly leftMs?: number;
  /** Of a stamp, whose newest revision is `revision`. */
  readonly count?: number;
  /** Of `get`; a listing's come before its answer. */
  readonly records?: readonly DirectoryRecord[];
  readonly fault?: Fault;
}

export type ServerMessage =
  | { readonly kind: "welcome"; readonly session: string; readonly isResumed: boolean }
  | { readonly kind: "records"; readonly id: number; readonly records: readonly DirectoryRecord[] }
  | { readonly kind: "answer"; readonly id: number; readonly answer: Answer }
  /** Whole revisions: what a watch has got up to one of them, it has got all of. */
  | { readonly kind: "events"; readonly watch: number; readonly events: readonly DirectoryEvent[] }
  | { readonly kind: "lost"; readonly watch: number }
  | { readonly kind: "pong" };

/** Throws `record-invalid`. */
export function parseClientMessage(value: unknown): ClientMessage {
  const fields = new RecordFields("a message", value);
  const kind = fields.oneOf("kind", ["hello", "call", "watch", "unwatch", "ping", "bye"] as const);
  switch (kind) {
    case "hello": {
      const protocol = fields.integer("protocol", 1, NUMBER_MAX);
      return fields.has("session")
        ? { kind, protocol, session: fields.text("session") }
        : { kind, protocol };
    }
    case "call":
      return {
        kind,
        id: number(fields, "id"),
        settled: number(fields, "settled"),
        call: parseCall(fields.child("call")),
      };
    case "watch":
      return {
        kind,
        watch: number(fields, "watch"),
        prefix: fields.anyText("prefix"),
        fromRevision: number(fields, "fromRevision"),
      };
    case "unwatch":
      return { kind, watch: number(fields, "watch") };
    case "ping":
    case "bye":
      return { kind };
  }
}

/** Throws `record-invalid`. */
export function parseServerMessage(value: unknown): ServerMessage {
  const fields = new RecordFields("a message", value);
  const kinds = ["welcome", "records", "answer", "events", "lost", "pong"] as const;
  const kind = fields.oneOf("kind", kinds);
  switch (kind) {
    case "welcome":
      return { kind, session: fields.text("session"), isResumed: fields.boolean("isResumed") };
    case "records":
      return { kind, id: number(fields, "id"), records: parseRecords(fields) };
    case "answer":
      return { kind, id: number(fields, "id"), answer: parseAnswer(fields.child("answer")) };
    case "events":
      return {
        kind,
        watch: number(fields, "watch"),
        events: fields.children("events", ITEMS_MAX).map(parseEvent),
      };
    case "lost":
      return { kind, watch: number(fields, "watch") };
    case "pong":
      return { kind };
  }
}

/**
 * For answers. Anything but a `CodedError` is a bug at the server, not to be taken for one here.
 */
export function faultOf(error: unknown): Fault {
  if (error instanceof CodedError) return error.fault;
  const message = error instanceof Error ? error.message : String(error);
  return { code: "directory-refused", message: `the directory refuses the request: ${message}` };
}

function parseCall(fields: RecordFields): Call {
  const method = fields.oneOf("method", [
    "get",
    "list",
    "transact",
    "grant-lease",
    "keep-alive",
    "revoke-lease",
  ] as const);
  switch (method) {
    case "get":
      return { method, key: fields.text("key") };
    case "list":
      return {
        method,
        prefix: fields.anyText("prefix"),
        ...(fields.has("isStampOnly") && { isStampOnly: fields.boolean("isStampOnly") }),
      };
    case "transact":
      return {
        method,
        conditions: fields
          .children("conditions", DIRECTORY_CONDITIONS_MAX)
          .map((one) => ({ key: one.text("key"), revision: number(one, "revision") })),
        writes: fields.children("writes", DIRECTORY_WRITES_MAX).map(parseWrite),
      };
    case "grant-lease":
      return { method, ttlMs: fields.number("ttlMs") };
    case "keep-alive":
    case "revoke-lease":
      return { method, lease: fields.text("lease") };
  }
}

function parseWrite(fields: RecordFields): DirectoryWrite {
  const kind = fields.oneOf("kind", ["put", "delete"] as const);
  const key = fields.text("key");
  if (kind === "delete") return { kind, key };
  const value = fields.anyText("value");
  return fields.has("lease")
    ? { kind, key, value, lease: fields.text("lease") }
    : { kind, key, value };
}

function parseEvent(fields: RecordFields): DirectoryEvent {
  const kind = fields.oneOf("kind", ["put", "delete"] as const);
  if (kind === "put") return { kind, record: parseRecord(fields.child("record")) };
  return { kind, key: fields.text("key"), revision: number(fields, "revision") };
}

function parseRecords(fields: RecordFields): DirectoryRecord[] {
  return fields.children("records", ITEMS_MAX).map(parseRecord);
}

function parseRecord(fields: RecordFields): DirectoryRecord {
  return {
    key: fields.text("key"),
    value: fields.anyText("value"),
    revision: number(fields, "revision"),
  };
}

function parseAnswer(fields: RecordFields): Answer {
  return {
    ...(fields.has("revision") && { revision: number(fields, "revision") }),
    ...(fields.has("succeeded") && { succeeded: fields.boolean("succeeded") }),
    ...(fields.has("lease") && { lease: fields.text("lease") }),
    ...(fields.has("count") && { count: number(fields, "count") }),
    ...(fields.has("leftMs") && { leftMs: fields.amount("leftMs") }),
    ...(fields.has("records") && { records: parseRecords(fields) }),
    ...(fields.has("fault") && { fault: parseFault(fields.child("fault")) }),
  };
}

function parseFault(fields: RecordFields): Fault {
  const fault = { code: fields.text("code"), message: fields.text("message", 65_536) };
  return fields.has("hint") ? { ...fault, hint: fields.text("hint", 65_536) } : fault;
}

function number(fields: RecordFields, name: string): number {
  return fields.integer(name, 0, NUMBER_MAX);
}
