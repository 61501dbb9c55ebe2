/**
 * Calls to an etcd cluster, whichever of its members answers: failover between endpoints, user and
 * password, deadlines. An endpoint that failed is left alone until a probe has found it well; one
 * that holds streams is probed all the time, since a stream alone cannot be told from a dead one.
 */
import { assert, CodedError, errorText } from "../../base/index.ts";
import type { Log } from "../../ports/index.ts";
import { EtcdEndpoint } from "./etcd-endpoint.ts";
import type { EtcdStream, EtcdStreamHandler, EtcdTls } from "./etcd-endpoint.ts";
import { EtcdRefusal, EtcdSilence, GRPC, encodeText } from "./etcd-wire.ts";
import type { EtcdFields } from "./etcd-wire.ts";

const REQUEST_TIMEOUT_MS = 2000;
const CALL_TIMEOUT_MS = 10_000;
const PROBE_INTERVAL_MS = 2000;
/**
 * What the last attempt of a call has at least, past the deadline if need be: a shorter one would
 * say "no answer" of an endpoint that was not given the time for one.
 */
const ATTEMPT_MS_MIN = 200;
/** Between two rounds over all endpoints. */
const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 500;
/** Any key will do; this one is covered by the permission that is needed anyway. */
const PROBED_KEY = "/drystone/.probe";

export interface EtcdClientOptions {
  /** http://HOST:PORT or https://HOST:PORT. The first one that answers is used. */
  readonly endpoints: readonly string[];
  readonly tls?: EtcdTls;
  readonly credentials?: { readonly user: string; readonly password: string };
  /** How long one endpoint may take to answer before another is asked. Default: 2 s. */
  readonly requestTimeoutMs?: number;
  /** How long a call may take in all, give or take 200 ms. Default: 10 s. */
  readonly callTimeoutMs?: number;
  /** Of endpoints that failed or hold streams. Default: 2 s. */
  readonly probeIntervalMs?: number;
  readonly log?: Log;
}

export class EtcdClient {
  readonly callTimeoutMs: number;
  readonly requestTimeoutMs: number;
  #endpoints: readonly EtcdEndpoint[];
  #tls: EtcdTls | undefined;
  readonly #credentials: EtcdClientOptions["credentials"];
  readonly #log: Log | undefined;
  readonly #prober: NodeJS.Timeout;
  readonly #probed = new Set<EtcdEndpoint>();
  /** Where the search begins while all are suspect. */
  #next = 0;
  #clusterId: string | undefined;
  /** Empty if etcd wants none. */
  #token: string | undefined;
  #authenticating: Promise<string> | undefined;
  #ended: CodedError | undefined;

  /** Fails with `address-invalid`. Connects when it is first used. */
  constructor(options: EtcdClientOptions) {
    assert(options.endpoints.length > 0, "an etcd cluster has at least one endpoint");
    this.#tls = options.tls;
    this.#endpoints = options.endpoints.map((url) => new EtcdEndpoint(url, options.tls));
    this.requestTimeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    this.callTimeoutMs = options.callTimeoutMs ?? CALL_TIMEOUT_MS;
    this.#credentials = options.credentials;
    this.#log = options.log;
    this.#prober = setInterval(this.#probeAll, options.probeIntervalMs ?? PROBE_INTERVAL_MS);
    this.#prober.unref();
  }

  /** What connections that are made from now on show and believe. */
  setTls(tls: EtcdTls): void {
    this.#tls = tls;
    for (const endpoint of this.#endpoints) endpoint.setTls(tls);
  }

  /** From now on these are asked; calls under way at others end there as they do. */
  setEndpoints(urls: readonly string[]): void {
    assert(urls.length > 0, "an etcd cluster has at least one endpoint");
    const before = this.#endpoints;
    if (urls.join() === before.map(({ url }) => url).join()) return;
    const known = new Map(before.map((endpoint) => [endpoint.url, endpoint]));
    this.#endpoints = urls.map((url) => known.get(url) ?? new EtcdEndpoint(url, this.#tls));
    for (const endpoint of before) {
      if (this.#endpoints.includes(endpoint)) continue;
      for (const leave of [...endpoint.leavers]) leave();
      endpoint.close();
    }
  }

  /**
   * A call that may be made more than once. `read` takes what is wanted from the answer; one that
   * it cannot read counts as none. Fails with `directory-unavailable` and others.
   */
  async call<T>(
    path: string,
    body: object,
    read: (answer: EtcdFields) => T,
    deadlineMs: number = this.newDeadlineMs(),
  ): Promise<T> {
    for (let round = 0; ; round++) {
      const endpoint = await this.nextEndpoint(round, deadlineMs);
      try {
        return read(await this.attempt(endpoint, path, body, deadlineMs));
      } catch (error) {
        this.checkMayRetry(error);
        this.#suspect(endpoint, error);
      }
    }
  }

  newDeadlineMs(): number {
    return performance.now() + this.callTimeoutMs;
  }

  /**
   * The endpoint for attempt number `round`, after a pause if all have been tried. Fails with
   * `directory-unavailable` when the deadline has passed, with `directory-closed` after `close`.
   */
  async nextEndpoint(round: number, deadlineMs: number): Promise<EtcdEndpoint> {
    if (round > 0 && round % this.#endpoints.length === 0) {
      const rounds = round / this.#endpoints.length;
      const pauseMs = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.min(rounds - 1, 10));
      const leftMs = Math.max(0, deadlineMs - performance.now());
      await new Promise((resolve) => setTimeout(resolve, Math.min(pauseMs, leftMs)));
    }
    if (this.#ended !== undefined) throw this.#ended;
    if (performance.now() >= deadlineMs) throw this.unavailable();
    return this.pick();
  }

  /** The one to be asked now. */
  pick(): EtcdEndpoint {
    const well = this.#endpoints.find((endpoint) => !endpoint.isSuspect);
    return well ?? this.#endpoints[this.#next++ % this.#endpoints.length]!;
  }

  /** One request to one endpoint. Throws `EtcdSilence` or `EtcdRefusal`. */
  async attempt(
    endpoint: EtcdEndpoint,
    path: string,
    body: object,
    deadlineMs: number,
  ): Promise<EtcdFields> {
    const timeoutMs = (): number =>
      Math.min(this.requestTimeoutMs, Math.max(ATTEMPT_MS_MIN, deadlineMs - performance.now()));
    for (let isAgain = false; ; isAgain = true) {
      const token = await this.#tokenFor(endpoint, timeoutMs());
      try {
        const answer = await endpoint.post(path, body, token, timeoutMs());
        this.#checkCluster(answer);
        endpoint.isSuspect = false;
        return answer;
      } catch (error) {
        const isTokenOld = error instanceof EtcdRefusal && error.isTokenInvalid;
        if (isTokenOld && !isAgain && token !== undefined) this.forgetToken(token);
        else {
          const isWell = error instanceof EtcdRefusal && (error.isFinal || error.isNoSpace);
          if (!isWell) this.#suspect(endpoint, error);
          throw error;
        }
      }
    }
  }

  /**
   * Opens a stream; with the token, and such that a member without a leader ends it. Throws
   * `EtcdSilence` or `EtcdRefusal`.
   */
  async open(
    endpoint: EtcdEndpoint,
    path: string,
    body: object,
    handler: EtcdStreamHandler,
  ): Promise<EtcdStream> {
    const token = await this.#tokenFor(endpoint, this.requestTimeoutMs);
    const headers = {
      "grpc-metadata-hasleader": "true",
      ...(token !== undefined && token !== "" && { authorization: token }),
    };
    return endpoint.stream(path, body, headers, handler);
  }

  /** Another endpoint is asked first from now on. */
  streamFailed(endpoint: EtcdEndpoint, reason: string): void {
    this.#suspect(endpoint, new Error(reason));
  }

  /** Asks for another token at the next call. Without `token`: whichever there is. */
  forgetToken(token?: string): void {
    if (token === undefined || this.#token === token) this.#token = undefined;
  }

  /** Throws what trying elsewhere cannot mend. */
  checkMayRetry(error: unknown): void {
    if (this.#ended !== undefined) throw this.#ended;
    if (error instanceof EtcdSilence) return;
    if (!(error instanceof EtcdRefusal)) throw error;
    if (error.isFinal || error.isNoSpace) throw codedRefusal(error);
  }

  unavailable(): CodedError {
    const failures = this.#endpoints.map(
      ({ url, lastFailure }) => `${url}: ${lastFailure ?? "not asked"}`,
    );
    return new CodedError({
      code: "directory-unavailable",
      message: `etcd did not answer in time (${failures.join("; ")})`,
      hint: "check that a majority of etcd's members run and can be reached from this host",
      details: { endpoints: this.#endpoints.map(({ url }) => url).join(" ") },
    });
  }

  /** Calls under way fail with `directory-closed`. */
  close(): void {
    this.#ended ??= new CodedError({
      code: "directory-closed",
      message: "the directory is closed",
    });
    clearInterval(this.#prober);
    for (const endpoint of this.#endpoints) endpoint.close();
  }

  readonly #probeAll = (): void => {
    for (const endpoint of this.#endpoints) {
      if (endpoint.isSuspect || endpoint.leavers.size > 0) void this.#probe(endpoint);
    }
  };

  /** A read that a majority must confirm: a member that has lost the others is not well. */
  async #probe(endpoint: EtcdEndpoint): Promise<void> {
    if (this.#probed.has(endpoint)) return;
    this.#probed.add(endpoint);
    const body = { key: encodeText(PROBED_KEY), count_only: true };
    try {
      await this.attempt(endpoint, "kv/range", body, performance.now() + this.requestTimeoutMs);
    } catch (error) {
      // Whoever refuses is there; silence has made it suspect.
      if (error instanceof EtcdRefusal && error.isFinal) endpoint.isSuspect = false;
    } finally {
      this.#probed.delete(endpoint);
    }
  }

  #suspect(endpoint: EtcdEndpoint, error: unknown): void {
    endpoint.lastFailure = errorText(error);
    if (this.#ended !== undefined) return;
    if (!endpoint.isSuspect) {
      const fields = { endpoint: endpoint.url, cause: endpoint.lastFailure };
      this.#log?.write("warning", "an endpoint of etcd does not answer", fields);
    }
    endpoint.isSuspect = true;
    for (const leave of [...endpoint.leavers]) leave();
  }

  /** An endpoint of another cluster would answer with records that have nothing to do with ours. */
  #checkCluster(answer: EtcdFields): void {
    const clusterId = answer.child("header").text("cluster_id");
    if (clusterId === "") return;
    this.#clusterId ??= clusterId;
    if (clusterId === this.#clusterId) return;
    throw new EtcdSilence(
      `it belongs to the etcd cluster ${clusterId}, not to ${this.#clusterId}`,
      true,
    );
  }

  async #tokenFor(endpoint: EtcdEndpoint, timeoutMs: number): Promise<string | undefined> {
    if (this.#credentials === undefined) return undefined;
    if (this.#token !== undefined) return this.#token;
    this.#authenticating ??= this.#authenticate(endpoint, timeoutMs).finally(
      () => (this.#authenticating = undefined),
    );
    try {
      return await this.#authenticating;
    } catch (error) {
      if (error instanceof EtcdRefusal && error.isFinal) throw error;
      // What the token is for has not been sent.
      throw new EtcdSilence(errorText(error), false);
    }
  }

  async #authenticate(endpoint: EtcdEndpoint, timeoutMs: number): Promise<string> {
    const { user, password } = this.#credentials!;
    try {
      const body = { name: user, password };
      const answer = await endpoint.post("auth/authenticate", body, undefined, timeoutMs);
      this.#token = answer.text("token");
      return this.#token;
    } catch (error) {
      const isRefusal = error instanceof EtcdRefusal && error.isFinal;
      if (!isRefusal) this.#suspect(endpoint, error);
      if (!isRefusal || !/authentication is not enabled/.test(error.message)) throw error;
      this.#log?.write("warning", "etcd does not ask for the user and password it was given");
      this.#token = "";
      return this.#token;
    }
  }
}

/** What etcd refuses for good, as a fault of the world. */
export function codedRefusal(refusal: EtcdRefusal): CodedError {
  const options = { cause: refusal };
  if (refusal.isNoSpace) {
    const fault = {
      code: "no-space",
      message: "etcd's database has reached its quota and takes no more writes",
      hint: "compact and defragment etcd, then run: etcdctl alarm disarm",
    };
    return new CodedError(fault, options);
  }
  const isAccess =
    refusal.grpcCode === GRPC.permissionDenied ||
    refusal.grpcCode === GRPC.unauthenticated ||
    /authentication failed|user name is empty/.test(refusal.message);
  return new CodedError(
    {
      code: "directory-refused",
      message: `etcd refuses the request: ${refusal.message}`,
      hint: isAccess
        ? "check the user, the password and that its role may read and write below /drystone/"
        : "check etcd's version (3.4 or later) and its limits",
    },
    options,
  );
}
