/**
 * Tokens of the API: made here, shown once, and turned into who asks and what that one may do. What
 * was found in the directory is believed for some seconds, so that a page that asks often does not
 * ask the directory each time; a token that is taken back is good for so long on other hosts.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { CodedError } from "../../base/index.ts";
import {
  ACCESS_ROLES,
  createAccessToken,
  findAccessToken,
  listAccessTokens,
  removeAccessToken,
} from "../../cluster/index.ts";
import type { AccessRole, AccessToken } from "../../cluster/index.ts";
import type { Clock, Directory } from "../../ports/index.ts";
import { Attempts } from "./attempts.ts";
import type { AccessCreateRequest, AccessCreatedView, AccessView } from "./views.ts";

const PREFIX = "drystone-access-";
const SECRET_BYTES = 32;
const ID_BYTES = 8;
const DAYS_DEFAULT = 90;
const DAY_MS = 24 * 3600 * 1000;
const BELIEVED_MS = 5000;
const BELIEVED_MAX = 256;

/** Who asks, and what that one may do. */
export interface Principal {
  /** For the audit log. */
  readonly who: string;
  readonly role: AccessRole;
  /** Groups of operations; undefined: all of them. */
  readonly scopes: readonly string[] | undefined;
}

export interface AccessDeskWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly clock: Clock;
}

interface Believed {
  readonly token: AccessToken;
  readonly untilMs: number;
}

export class AccessDesk {
  readonly #world: AccessDeskWorld;
  /** By the SHA-256 of what was shown. */
  readonly #believed = new Map<string, Believed>();
  readonly #attempts: Attempts;

  constructor(world: AccessDeskWorld) {
    this.#world = world;
    this.#attempts = new Attempts(world.clock, "tokens");
  }

  async create(request: AccessCreateRequest): Promise<AccessCreatedView> {
    const { directory, clusterId, clock } = this.#world;
    const { name, role, days = DAYS_DEFAULT, scopes = [] } = request;
    const secret = randomBytes(SECRET_BYTES).toString("base64url");
    const createdMs = Math.round(clock.wallMs());
    const token: AccessToken = {
      ...{ id: randomBytes(ID_BYTES).toString("hex"), name, role, scopes, hash: hashOf(secret) },
      ...{ createdMs, expiresMs: createdMs + days * DAY_MS },
    };
    await createAccessToken(directory, clusterId, token);
    return { ...viewOf(token), token: `${PREFIX}${token.id}-${secret}` };
  }

  async list(): Promise<readonly AccessView[]> {
    const { directory, clusterId } = this.#world;
    return (await listAccessTokens(directory, clusterId)).map(viewOf);
  }

  /** Fails with `access-unknown`. */
  async revoke(id: string): Promise<void> {
    const { directory, clusterId } = this.#world;
    this.#believed.clear();
    if (await removeAccessToken(directory, clusterId, id)) return;
    throw new CodedError({
      code: "access-unknown",
      message: `there is no token with the id ${id.slice(0, 40)}`,
      hint: "run drystone access list",
    });
  }

  /**
   * Fails with `access-denied`, which does not say what is wrong with a token, `access-expired`, or
   * `too-many-attempts`.
   */
  async principalOf(shown: string, remote: string): Promise<Principal> {
    const nowMs = this.#world.clock.wallMs();
    this.#attempts.check(remote);
    const token = await this.#find(shown, nowMs);
    if (token === undefined) {
      this.#attempts.noteWrong(remote);
      throw denied();
    }
    if (nowMs >= token.expiresMs)
      throw new CodedError({
        code: "access-expired",
        message: `the token ${token.name} has expired`,
        hint: "Have an admin make another one: drystone access create",
      });
    const scopes = token.scopes.length === 0 ? undefined : token.scopes;
    return { who: `token ${token.name} (${token.id})`, role: token.role, scopes };
  }

  async #find(shown: string, nowMs: number): Promise<AccessToken | undefined> {
    const key = hashOf(shown);
    const believed = this.#believed.get(key);
    if (believed !== undefined && nowMs < believed.untilMs) return believed.token;
    const match = /^drystone-access-([0-9a-f]{16})-([A-Za-z0-9_-]{43})$/.exec(shown);
    if (match === null) return undefined;
    const { directory, clusterId } = this.#world;
    const token = await findAccessToken(directory, clusterId, match[1]!);
    if (token === undefined || !isSameHash(hashOf(match[2]!), token.hash)) return undefined;
    if (this.#believed.size >= BELIEVED_MAX) this.#believed.clear();
    this.#believed.set(key, { token, untilMs: nowMs + BELIEVED_MS });
    return token;
  }
}

/** Fails with `role-too-low` or `scope-missing`. */
export function checkRight(
  { who, role, scopes }: Principal,
  needed: { readonly role: AccessRole; readonly scope: string; readonly what: string },
): void {
  if (ACCESS_ROLES.indexOf(role) < ACCESS_ROLES.indexOf(needed.role))
    throw new CodedError({
      code: "role-too-low",
      message: `${needed.what} is for the role ${needed.role}, and ${who} is ${role}`,
      hint: "Use a token with that role; an admin makes one with drystone access create",
    });
  if (scopes === undefined || scopes.includes(needed.scope)) return;
  throw new CodedError({
    code: "scope-missing",
    message: `${needed.what} needs the scope ${needed.scope}, and ${who} has ${scopes.join(", ")}`,
    hint: "Use a token with that scope; an admin makes one with drystone access create",
  });
}

function denied(): CodedError {
  return new CodedError({
    code: "access-denied",
    message: "the token that was shown is none of this cluster's",
    hint: "An admin makes one with drystone access create",
  });
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function isSameHash(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one, "hex"), Buffer.from(other, "hex")];
  return a.length === b.length && timingSafeEqual(a, b);
}

function viewOf({ id, name, role, scopes, createdMs, expiresMs }: AccessToken): AccessView {
  return { id, name, role, scopes, createdMs, expiresMs };
}
