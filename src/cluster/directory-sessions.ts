/**
 * What a served directory keeps for its clients beyond their connections: the answers of calls that
 * change something, so that a call that is sent again is not made again. Of clients that are away
 * a bounded number is kept, and of their answers: one that comes too late is told that its session
 * is gone, and that the outcome of what it had sent is unknown. No call is made twice by that.
 */
import { assertDefined } from "../base/index.ts";
import type { Clock, Timer } from "../ports/index.ts";
import type { Answer } from "./directory-messages.ts";

/** How long answers are kept for a client that is away: longer than any call of it waits. */
const SESSION_KEEP_MS = 10 * 60_000;
/** A few for each connection that there may be. */
const AWAY_MAX = 1024;
/** Answers of all that are away. */
const AWAY_ANSWERS_MAX = 16_384;

interface Ended {
  destroy(reason: string): void;
}

/** What outlives a client's connections. */
export interface Session<Connection> {
  readonly name: string;
  /** Of calls that change something, by number, until the client has them. */
  readonly answers: Map<number, Promise<Answer>>;
  connection: Connection | undefined;
  expiry: Timer | undefined;
}

export class DirectorySessions<Connection extends Ended> {
  readonly #clock: Clock;
  readonly #incarnation: string;
  readonly #all = new Map<string, Session<Connection>>();
  /** Those that are away, the longest first: without answers, and with how many. */
  readonly #idle = new Set<Session<Connection>>();
  readonly #owing = new Map<Session<Connection>, number>();
  #owedCount = 0;
  #count = 0;

  /** `incarnation` is of this run of the server, never used before. */
  constructor(clock: Clock, incarnation: string) {
    this.#clock = clock;
    this.#incarnation = incarnation;
  }

  get count(): number {
    return this.#all.size;
  }

  /** The session of that name if it is known, otherwise a new one. */
  join(
    connection: Connection,
    name: string | undefined,
  ): { session: Session<Connection>; isResumed: boolean } {
    const known = name === undefined ? undefined : this.#all.get(name);
    const session = known ?? this.#add();
    this.#returns(session);
    // The client knows better than we whether its last connection is still of use.
    session.connection?.destroy("the client has connected again");
    // That has left, and counts as away.
    this.#returns(session);
    session.connection = connection;
    return { session, isResumed: known !== undefined };
  }

  /** The connection has ended; `isOver` if the client wants nothing more. */
  leave(connection: Connection, session: Session<Connection>, isOver: boolean): void {
    if (session.connection !== connection) return;
    session.connection = undefined;
    if (!this.#all.has(session.name)) return;
    if (isOver) return this.#drop(session);
    const { size } = session.answers;
    if (size === 0) this.#idle.add(session);
    else this.#owing.set(session, size);
    this.#owedCount += size;
    session.expiry = this.#clock.after(SESSION_KEEP_MS, () => this.#drop(session));
    this.#trim();
  }

  close(): void {
    for (const session of this.#all.values()) session.expiry?.cancel();
    this.#all.clear();
  }

  #add(): Session<Connection> {
    const name = `${this.#incarnation}/${++this.#count}`;
    const session = { name, answers: new Map(), connection: undefined, expiry: undefined };
    this.#all.set(name, session);
    return session;
  }

  #returns(session: Session<Connection>): void {
    session.expiry?.cancel();
    session.expiry = undefined;
    this.#idle.delete(session);
    this.#owedCount -= this.#owing.get(session) ?? 0;
    this.#owing.delete(session);
  }

  #drop(session: Session<Connection>): void {
    this.#returns(session);
    this.#all.delete(session.name);
  }

  /** Those that owe nothing go first: whoever only says hello keeps nobody's answers out. */
  #trim(): void {
    while (this.#idle.size + this.#owing.size > AWAY_MAX) {
      const [idle] = this.#idle;
      this.#drop(idle ?? this.#firstOwing());
    }
    while (this.#owedCount > AWAY_ANSWERS_MAX) this.#drop(this.#firstOwing());
  }

  #firstOwing(): Session<Connection> {
    const [first] = this.#owing.keys();
    return assertDefined(first, "answers are somebody's");
  }
}
