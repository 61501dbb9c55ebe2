/**
 * Where hosts join: makes tokens, and gives a certificate to who brings one. Everything about a
 * request is checked before its token is used up.
 *
 * A token is a secret and the fingerprint of the cluster's authority: the joining host knows by it
 * whom it may tell the secret.
 */
import {
  createHash,
  createPublicKey,
  randomBytes,
  sign,
  verify,
  X509Certificate,
} from "node:crypto";
import { CodedError } from "../../base/index.ts";
import {
  checkJoinToken,
  createJoinToken,
  listHosts,
  noteCertificate,
  useJoinToken,
} from "../../cluster/index.ts";
import { fingerprintOf, isCertifiable, issueCertificate } from "../../platform/index.ts";
import { publicKeyInvalid } from "../../platform/index.ts";
import type { CertifiedKey } from "../../platform/index.ts";
import type { Clock, Directory } from "../../ports/index.ts";
import { Attempts, sourceOf } from "../api/attempts.ts";
import type { NewEvent } from "../api/event-ring.ts";
import { FewEvents } from "../api/few-events.ts";
import { hostNameInvalid } from "../names.ts";
import { checkShape } from "../api/shape.ts";
import type { ObjectShape } from "../api/shape.ts";
import { newId } from "../state-dir.ts";
import type { HostTls } from "./tls-folder.ts";

const TTL_MINUTES_DEFAULT = 30;
const SECRET_BYTES = 16;
const FINGERPRINT_BYTES = 32;
const TOKEN_PREFIX = "drystone-";
/** Before URLs of etcd: hosts of the cluster run it. */
export const MEMBERS_PREFIX = "members:";
const ADDRESSES_MAX = 16;

export interface JoinRequest {
  readonly token: string;
  readonly name: string;
  readonly publicKeyPem: string;
  /** Shows that the host has the key, and wants it certified with this token. */
  readonly proof: string;
  /** Where the host can be reached, for its certificate. */
  readonly addresses: readonly string[];
}

export interface JoinAnswer {
  readonly clusterId: string;
  readonly certificatePem: string;
  /** As `cluster.directory` in a configuration, after `MEMBERS_PREFIX` where hosts run etcd. */
  readonly directory: string;
  /** The content of the file with the cluster key, if the host that answers has one. */
  readonly clusterKey?: string;
  /** All authorities that are believed, where there are several for a while. */
  readonly caPem?: string;
}

const text = (lengthMax: number, description: string, example: string) =>
  ({ kind: "text", lengthMax, description, example }) as const;

const keyField = {
  optional: false,
  shape: {
    ...text(1000, "Its public key, on P-256", "-----BEGIN PUBLIC KEY-----"),
    invalid: publicKeyInvalid,
  },
} as const;

const addressesField = {
  optional: false,
  shape: {
    kind: "list",
    countMax: ADDRESSES_MAX,
    description: "Where it can be reached",
    of: {
      ...text(253, "An IP address or DNS name", "10.0.0.2"),
      invalid: (address: string) =>
        isCertifiable(address) ? undefined : "is neither an IP address nor a DNS name",
    },
  },
} as const;

const joinRequestShape: ObjectShape<JoinRequest> = {
  kind: "object",
  description: "A host that wants to join",
  fields: {
    token: { optional: false, shape: text(200, "From drystone token create", "drystone-AbC") },
    name: {
      optional: false,
      shape: { ...text(200, "The host's name", "h2"), invalid: hostNameInvalid },
    },
    publicKeyPem: keyField,
    proof: { optional: false, shape: text(400, "A signature, base64", "MEUCIQ") },
    addresses: addressesField,
  },
};

interface RenewRequest extends Pick<JoinRequest, "publicKeyPem" | "addresses"> {
  /** By its fingerprint, where it matters which one signs. */
  readonly authority?: string;
}

const renewRequestShape: ObjectShape<RenewRequest> = {
  kind: "object",
  description: "A host whose certificate is to be made anew",
  fields: {
    publicKeyPem: keyField,
    addresses: addressesField,
    authority: {
      optional: true,
      shape: text(64, "The authority that is to sign, by its fingerprint", "0a1b2c"),
    },
  },
};

export interface TokenParts {
  readonly secret: Buffer;
  /** SHA-256 of the authority's certificate, in hexadecimal digits. */
  readonly fingerprint: string;
}

/** Fails with `token-invalid`. */
export function parseToken(token: string): TokenParts {
  const body = token.startsWith(TOKEN_PREFIX) ? token.slice(TOKEN_PREFIX.length) : "";
  const bytes = Buffer.from(body, "base64url");
  // Only one way to write each token is one.
  if (bytes.length === SECRET_BYTES + FINGERPRINT_BYTES && bytes.toString("base64url") === body) {
    const secret = bytes.subarray(0, SECRET_BYTES);
    return { secret, fingerprint: bytes.subarray(SECRET_BYTES).toString("hex") };
  }
  throw new CodedError({
    code: "token-invalid",
    message: "what was given is not a token, or not all of one",
    hint: "Copy the whole line that drystone token create has printed",
  });
}

/** What a joining host signs with the key that it wants certified. */
export function joinProof(token: string, keyPem: string): string {
  return sign("sha256", proven(token), keyPem).toString("base64");
}

export interface JoinDeskWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  /** Whose keys are here, in no order; none on hosts where nobody joins. */
  readonly authorities: () => readonly CertifiedKey[];
  readonly tls: Pick<HostTls, "trust">;
  /** As joining hosts are to write it into their configuration. */
  readonly directoryText: () => string;
  /** What joining hosts get of the cluster key. */
  readonly clusterKeyText: () => string | undefined;
  readonly clock: Clock;
  readonly events: { add(event: NewEvent): unknown };
}

export class JoinDesk {
  readonly #world: JoinDeskWorld;
  readonly #attempts: Attempts;
  readonly #refusals: FewEvents;

  constructor(world: JoinDeskWorld) {
    this.#world = world;
    this.#attempts = new Attempts(world.clock, "requests to join");
    this.#refusals = new FewEvents(world.clock, (event) => world.events.add(event));
  }

  /** Fails with `authority-elsewhere` or `too-many-tokens`. */
  async createToken(
    ttlMinutes: number = TTL_MINUTES_DEFAULT,
  ): Promise<{ readonly token: string; readonly expiresMs: number }> {
    const { directory, clusterId, clock } = this.#world;
    const certificate = new X509Certificate(this.#authority().certificatePem);
    const fingerprint = Buffer.from(fingerprintOf(certificate), "hex");
    const secret = randomBytes(SECRET_BYTES);
    const nowMs = Math.round(clock.wallMs());
    const ttlMs = ttlMinutes * 60_000;
    await createJoinToken(directory, clusterId, hashOf(secret), { nowMs, ttlMs });
    const token = `${TOKEN_PREFIX}${Buffer.concat([secret, fingerprint]).toString("base64url")}`;
    return { token, expiresMs: nowMs + ttlMs };
  }

  /**
   * Whatever is wrong with it, the reason is told and nothing else happens; events tell of a few
   * such refusals and count the others. Fails with `too-many-attempts`, too.
   */
  async join(value: unknown, remote: string): Promise<JoinAnswer> {
    this.#attempts.check(remote);
    try {
      const request = checkShape(
        joinRequestShape,
        value,
        "request-invalid",
        "See docs/security.md",
      );
      return await this.#admit(request);
    } catch (error) {
      if (error instanceof CodedError) {
        this.#attempts.noteWrong(remote);
        this.#tellRefusal(remote, error);
      }
      throw error;
    }
  }

  /** Tells nothing more. */
  close(): void {
    this.#refusals.close();
  }

  #tellRefusal(remote: string, { code, message: why }: CodedError): void {
    const base = { level: "warning", kind: "join-refused" } as const;
    const message = `a host at ${remote} was not let in: ${why}`;
    this.#refusals.add({
      // All addresses together: who has many would have as many events.
      key: "join",
      kind: `${sourceOf(remote)} ${code}`,
      event: { ...base, message, details: { remote, code } },
      rest: (untoldCount) => ({
        ...base,
        message: `hosts were not let in ${untoldCount} more times within a minute`,
        details: { untoldCount },
      }),
    });
  }

  /** Whether hosts can join and have certificates renewed here. */
  hasAuthority(fingerprint?: string): boolean {
    return this.#found(fingerprint) !== undefined;
  }

  /**
   * Another certificate for a host that has shown one of its own. Fails with `authority-elsewhere`.
   */
  async renew(value: unknown, hostId: string): Promise<{ readonly certificatePem: string }> {
    const { directory, clusterId, clock } = this.#world;
    const wanted = checkShape(renewRequestShape, value, "request-invalid", "See docs/security.md");
    const { publicKeyPem, addresses } = wanted;
    const authority = this.#authority(wanted.authority);
    const identity = { clusterId, role: "host", name: hostId } as const;
    const subject = { identity, publicKeyPem, addresses };
    const certificatePem = issueCertificate(authority, subject, Math.round(clock.wallMs()));
    const serial = new X509Certificate(certificatePem).serialNumber;
    await noteCertificate(directory, clusterId, { hostId, serial });
    return { certificatePem };
  }

  async #admit(request: JoinRequest): Promise<JoinAnswer> {
    const { directory, clusterId, directoryText, clock, events } = this.#world;
    const authority = this.#authority();
    const { token, name, publicKeyPem, addresses } = request;
    const { secret, fingerprint } = parseToken(token);
    if (fingerprint !== fingerprintOf(new X509Certificate(authority.certificatePem)))
      throw refusal(
        "token-unknown",
        "the token is of another cluster, or of an authority that was replaced",
      );
    const proof = Buffer.from(request.proof, "base64");
    if (!verify("sha256", proven(token), createPublicKey(publicKeyPem), proof))
      throw refusal("request-invalid", "the host has not shown that it has the key");
    const nowMs = Math.round(clock.wallMs());
    const hash = hashOf(secret);
    // Who has no token learns nothing about the cluster.
    await checkJoinToken(directory, clusterId, hash, nowMs);
    const hosts = await listHosts(directory, clusterId);
    if (hosts.some((host) => host.name === name))
      throw new CodedError({
        code: "host-exists",
        message: `the cluster has a host named ${name} already`,
        hint: "Choose another name with --name; the token is still good",
      });
    const hostId = newId();
    await useJoinToken(directory, clusterId, hash, { nowMs, hostId });
    const identity = { clusterId, role: "host", name: hostId } as const;
    const wanted = { identity, publicKeyPem, addresses };
    const certificatePem = issueCertificate(authority, wanted, nowMs);
    const serial = new X509Certificate(certificatePem).serialNumber;
    await noteCertificate(directory, clusterId, { hostId, serial });
    const message = `host ${name} was let into the cluster`;
    events.add({ level: "info", kind: "host-joined", message, details: { name, hostId } });
    const clusterKey = this.#world.clusterKeyText();
    const { caPem } = this.#world.tls.trust.credentials;
    const answer = { clusterId, certificatePem, directory: directoryText(), caPem };
    return clusterKey === undefined ? answer : { ...answer, clusterKey };
  }

  /** The authority by which this host is known itself, which a joining host is shown. */
  #found(fingerprint?: string): CertifiedKey | undefined {
    const { authorities, tls } = this.#world;
    const wanted = fingerprint ?? fingerprintOf(tls.trust.authority);
    return authorities().find((one) => {
      return fingerprintOf(new X509Certificate(one.certificatePem)) === wanted;
    });
  }

  #authority(fingerprint?: string): CertifiedKey {
    const authority = this.#found(fingerprint);
    if (authority !== undefined) return authority;
    throw new CodedError({
      code: "authority-elsewhere",
      message: "this host does not have the key of the cluster's authority",
      hint: "Ask the host where drystone init ran, or copy its tls/ca.key here and start again",
    });
  }
}

function refusal(code: string, message: string): CodedError {
  return new CodedError({ code, message, hint: "drystone token create makes another token" });
}

function hashOf(secret: Uint8Array): string {
  return createHash("sha256").update(secret).digest("hex");
}

function proven(token: string): Buffer {
  return Buffer.from(`drystone join\n${token}`);
}
