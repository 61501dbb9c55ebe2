/**
 * Transactions on etcd that happen once or not at all, whatever becomes of the answer.
 *
 * When a request is not answered, its transaction may have been applied, may be applied later or
 * never: what is read afterwards proves nothing, since the proposal may still be on its way. So
 * each transaction is tied to a guard, a key of its own: it has the condition that the guard is
 * unchanged, and it changes the guard, to a value nobody else writes. Without an answer, a second
 * transaction tries to change the guard under the same condition. Only one of the two can ever
 * succeed. If it is the second one, the first will never happen and may be tried again; if not, the
 * guard's value and revision are the answer that was lost.
 *
 * Guards belong to one client, one transaction at a time each, and to a lease, so that they go with
 * the client. A transaction whose lease has ended is refused by etcd: it cannot come late either.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { CodedError } from "../../base/index.ts";
import type { DirectoryCondition, DirectoryOutcome, DirectoryWrite } from "../../ports/index.ts";
import { codedRefusal } from "./etcd-client.ts";
import type { EtcdClient } from "./etcd-client.ts";
import type { EtcdEndpoint } from "./etcd-endpoint.ts";
import { EtcdRefusal, EtcdSilence, GRPC, encodeText, recordOf, revisionOf } from "./etcd-wire.ts";
import type { EtcdFields } from "./etcd-wire.ts";

/** Not below any cluster: their ids start with a letter or a digit. */
export const GUARD_PREFIX = "/drystone/.transactions/";
const GUARD_LEASE_SECONDS = 24 * 60 * 60;
const GUARD_KEEP_ALIVE_MS = 60 * 60 * 1000;
/** More transactions at once than this wait for one another. */
const GUARD_COUNT_MAX = 48;
const FENCE = "fence ";

interface Session {
  readonly lease: string;
  /** What the guards of this session begin with. */
  readonly prefix: string;
  readonly free: Guard[];
  guardCount: number;
}

interface Guard {
  readonly session: Session;
  readonly key: string;
  /** Of the guard's latest change: 0 if it does not exist. */
  revision: number;
}

/** What is known about an attempt: applied, with its revision, or that it never will be. */
type Settlement = { readonly revision: number } | "never";

export class EtcdTransactions {
  readonly #client: EtcdClient;
  readonly #keeper: NodeJS.Timeout;
  #session: Promise<Session> | undefined;
  #underWay = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(client: EtcdClient) {
    this.#client = client;
    this.#keeper = setInterval(() => void this.#keepAlive(), GUARD_KEEP_ALIVE_MS);
    this.#keeper.unref();
  }

  /** See `Directory.transact`. */
  async run(
    conditions: readonly DirectoryCondition[],
    writes: readonly DirectoryWrite[],
  ): Promise<DirectoryOutcome> {
    const deadlineMs = this.#client.newDeadlineMs();
    const compare = conditions.map(({ key, revision }) => unchanged(key, revision));
    if (writes.length === 0) {
      return await this.#client.call(
        "kv/txn",
        { compare },
        (answer) => ({ succeeded: answer.flag("succeeded"), revision: revisionOf(answer) }),
        deadlineMs,
      );
    }
    await this.#enter();
    try {
      return await this.#runGuarded(compare, writes, deadlineMs);
    } finally {
      this.#leave();
    }
  }

  /** Takes the guards away, as far as etcd can be reached. */
  async close(): Promise<void> {
    clearInterval(this.#keeper);
    const session = await this.#session?.catch(() => undefined);
    if (session === undefined) return;
    const deadlineMs = performance.now() + this.#client.requestTimeoutMs;
    // Otherwise they go with their lease.
    await this.#client
      .call("lease/revoke", { ID: session.lease }, nothing, deadlineMs)
      .catch(() => undefined);
  }

  async #runGuarded(
    compare: readonly object[],
    writes: readonly DirectoryWrite[],
    deadlineMs: number,
  ): Promise<DirectoryOutcome> {
    const token = randomUUID();
    let guard = await this.#takeGuard(deadlineMs);
    for (let round = 0; ; round++) {
      const endpoint = await this.#nextEndpoint(guard, round, deadlineMs);
      const body = guarded(guard, token, compare, writes);
      try {
        const answer = await this.#client.attempt(endpoint, "kv/txn", body, deadlineMs);
        const outcome = this.#outcome(guard, answer);
        if (outcome !== undefined) return outcome;
        // The guard is not as it was left: its lease has ended. Nothing was written.
        guard = await this.#replaceGuard(guard, deadlineMs);
      } catch (error) {
        if (error instanceof EtcdRefusal && isLeaseEnded(error)) {
          if (!(await this.#hasEnded(guard.session))) {
            this.#release(guard, guard.revision);
            throw leaseEnded(error);
          }
          guard = await this.#replaceGuard(guard, deadlineMs);
        } else {
          const settlement = await this.#afterFailure(guard, token, error);
          if (settlement !== "never") {
            this.#release(guard, settlement.revision);
            return { succeeded: true, revision: settlement.revision };
          }
        }
      }
    }
  }

  /** Undefined if the guard has changed. */
  #outcome(guard: Guard, answer: EtcdFields): DirectoryOutcome | undefined {
    const revision = revisionOf(answer);
    if (answer.flag("succeeded")) {
      this.#release(guard, revision);
      return { succeeded: true, revision };
    }
    if (guardIn(answer).revision !== guard.revision) return undefined;
    this.#release(guard, guard.revision);
    return { succeeded: false, revision };
  }

  /** Throws what cannot be mended by trying again, having settled what is not known. */
  async #afterFailure(guard: Guard, token: string, error: unknown): Promise<Settlement> {
    if (error instanceof EtcdSilence && !error.isSent) return "never";
    if (error instanceof EtcdRefusal && error.isFinal) {
      this.#release(guard, guard.revision);
      throw codedRefusal(error);
    }
    // A bug, or closed: the guard is not used again.
    if (!(error instanceof EtcdSilence || error instanceof EtcdRefusal)) throw error;
    const settlement = await this.#settle(guard, token, error);
    if (settlement === "never" && error instanceof EtcdRefusal && error.isNoSpace) {
      this.#release(guard, guard.revision);
      throw codedRefusal(error);
    }
    return settlement;
  }

  /** Fails with `directory-outcome-unknown`; then the guard is not used any more. */
  async #settle(guard: Guard, token: string, cause: Error): Promise<Settlement> {
    const deadlineMs = this.#client.newDeadlineMs();
    try {
      const isFull = cause instanceof EtcdRefusal && cause.isNoSpace;
      // "No space" is an answer of the attempt itself: it cannot come late, and etcd takes no
      // fence any more.
      const found = isFull
        ? await this.#readGuard(guard, deadlineMs)
        : await this.#fence(guard, token, deadlineMs);
      if (found.value === token) return { revision: found.revision };
      if (found.value === FENCE + token || (isFull && found.revision === guard.revision)) {
        guard.revision = found.revision;
        return "never";
      }
      throw new Error("the guard of the transaction is gone");
    } catch (error) {
      throw outcomeUnknown(error, cause);
    }
  }

  /** Changes the guard unless it has changed; returns what it is then. */
  async #fence(
    guard: Guard,
    token: string,
    deadlineMs: number,
  ): Promise<{ value: string; revision: number }> {
    const { key, session, revision } = guard;
    const value = FENCE + token;
    const body = {
      compare: [unchanged(key, revision)],
      success: [put(key, value, session.lease)],
      failure: [{ request_range: { key: encodeText(key) } }],
    };
    const read = (answer: EtcdFields): { value: string; revision: number } =>
      answer.flag("succeeded") ? { value, revision: revisionOf(answer) } : guardIn(answer);
    return await this.#client.call("kv/txn", body, read, deadlineMs);
  }

  async #readGuard(guard: Guard, deadlineMs: number): Promise<{ value: string; revision: number }> {
    return await this.#client.call(
      "kv/range",
      { key: encodeText(guard.key) },
      (answer) => keptIn(answer.children("kvs")),
      deadlineMs,
    );
  }

  async #takeGuard(deadlineMs: number): Promise<Guard> {
    this.#session ??= this.#openSession(deadlineMs).catch((error: unknown) => {
      this.#session = undefined;
      throw error;
    });
    const session = await this.#session;
    const free = session.free.pop();
    if (free !== undefined) return free;
    return { session, key: `${session.prefix}${session.guardCount++}`, revision: 0 };
  }

  async #replaceGuard(guard: Guard, deadlineMs: number): Promise<Guard> {
    await this.#forget(guard.session);
    return await this.#takeGuard(deadlineMs);
  }

  async #forget(session: Session): Promise<void> {
    const current = await this.#session?.catch(() => undefined);
    if (current === session) this.#session = undefined;
  }

  #release(guard: Guard, revision: number): void {
    guard.revision = revision;
    guard.session.free.push(guard);
  }

  /** Nothing is under way with the guard: whoever cannot go on gives it back. */
  async #nextEndpoint(guard: Guard, round: number, deadlineMs: number): Promise<EtcdEndpoint> {
    try {
      return await this.#client.nextEndpoint(round, deadlineMs);
    } catch (error) {
      this.#release(guard, guard.revision);
      throw error;
    }
  }

  async #openSession(deadlineMs: number): Promise<Session> {
    const lease = await grantLease(this.#client, GUARD_LEASE_SECONDS, deadlineMs);
    return { lease: lease.id, prefix: `${GUARD_PREFIX}${randomUUID()}/`, free: [], guardCount: 0 };
  }

  async #hasEnded(session: Session): Promise<boolean> {
    return (await keepAlive(this.#client, session.lease)) === 0;
  }

  async #keepAlive(): Promise<void> {
    try {
      const session = await this.#session;
      if (session !== undefined && (await this.#hasEnded(session))) await this.#forget(session);
    } catch {
      // The lease lasts much longer than the time to the next try.
    }
  }

  async #enter(): Promise<void> {
    if (this.#underWay === GUARD_COUNT_MAX)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#underWay++;
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#underWay--;
    else next();
  }
}

/** The id is chosen here, so that the grant may be asked for again when no answer came. */
export async function grantLease(
  client: EtcdClient,
  ttlSeconds: number,
  deadlineMs: number = client.newDeadlineMs(),
): Promise<{ readonly id: string }> {
  const id = (randomBytes(8).readBigUInt64LE() >> 1n || 1n).toString();
  try {
    await client.call("lease/grant", { ID: id, TTL: String(ttlSeconds) }, nothing, deadlineMs);
  } catch (error) {
    const cause = error instanceof CodedError ? error.cause : undefined;
    if (!(cause instanceof EtcdRefusal && /already exists/.test(cause.message))) throw error;
  }
  return { id };
}

/** The remaining milliseconds, counted from when it was asked for; 0 if the lease has ended. */
export async function keepAlive(client: EtcdClient, lease: string): Promise<number> {
  const deadlineMs = client.newDeadlineMs();
  for (let round = 0; ; round++) {
    const endpoint = await client.nextEndpoint(round, deadlineMs);
    const startMs = performance.now();
    try {
      const answer = await client.attempt(endpoint, "lease/keepalive", { ID: lease }, deadlineMs);
      const leftMs = answer.integer("TTL") * 1000 - (performance.now() - startMs);
      return Math.max(0, leftMs);
    } catch (error) {
      if (error instanceof EtcdRefusal && isLeaseEnded(error)) return 0;
      client.checkMayRetry(error);
    }
  }
}

export function isLeaseEnded(error: EtcdRefusal): boolean {
  return error.grpcCode === GRPC.notFound && error.message.includes("lease not found");
}

function unchanged(key: string, revision: number): object {
  const base64 = encodeText(key);
  return { key: base64, target: "MOD", result: "EQUAL", mod_revision: String(revision) };
}

function put(key: string, value: string, lease: string | undefined): object {
  const request = { key: encodeText(key), value: encodeText(value) };
  return { request_put: lease === undefined ? request : { ...request, lease } };
}

function guarded(
  guard: Guard,
  token: string,
  compare: readonly object[],
  writes: readonly DirectoryWrite[],
): object {
  const requests = writes.map((write) =>
    write.kind === "put"
      ? put(write.key, write.value, write.lease)
      : { request_delete_range: { key: encodeText(write.key) } },
  );
  return {
    compare: [unchanged(guard.key, guard.revision), ...compare],
    success: [put(guard.key, token, guard.session.lease), ...requests],
    failure: [{ request_range: { key: encodeText(guard.key) } }],
  };
}

/** The guard as the other branch of a transaction found it. */
function guardIn(answer: EtcdFields): { value: string; revision: number } {
  const [response] = answer.children("responses");
  if (response === undefined) throw new EtcdSilence("an answer without the guard", true);
  return keptIn(response.child("response_range").children("kvs"));
}

function keptIn([kv]: readonly EtcdFields[]): { value: string; revision: number } {
  return kv === undefined ? { value: "", revision: 0 } : recordOf(kv);
}

function nothing(): void {}

function leaseEnded(cause: EtcdRefusal): CodedError {
  const message = "a record was to be written with a lease that has ended";
  return new CodedError({ code: "lease-ended", message }, { cause });
}

function outcomeUnknown(settling: unknown, cause: Error): CodedError {
  const why = settling instanceof Error ? settling.message : String(settling);
  return new CodedError(
    {
      code: "directory-outcome-unknown",
      message: `whether a change of the directory happened is unknown: ${cause.message}, then ${why}`,
      hint: "read again what it was to change before acting on it",
    },
    { cause: settling },
  );
}
