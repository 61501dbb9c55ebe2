/**
 * The HTTP API: the operation table over `node:http`. JSON in and out, `GET /metrics` for
 * Prometheus, `GET /healthz` and `/readyz` for load balancers, server-sent events for `events` with
 * `follow`, and the dashboard's files for browsers.
 *
 * Limits: 64 KiB of body, 10 seconds for a request to arrive, 64 followers of events, connections
 * as `CONNECTION_LIMITS` has them. Every refusal is `{error: {code,
 * message, hint}}` with the status that the code's row names.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { chmodSync, rmSync } from "node:fs";
import { isIP } from "node:net";
import type { AddressInfo, ListenOptions } from "node:net";
import { hostname } from "node:os";
import { CodedError, errorText } from "../../base/index.ts";
import { checkRight } from "./access-desk.ts";
import type { Principal } from "./access-desk.ts";
import { bearerOf, checkAccess, makeApiServer } from "./api-access.ts";
import { checkRequest, matchOperation, queryFields } from "./api-match.ts";
import { readBody, sendFault, sendJson, sendReason } from "./api-wire.ts";
import type { NewAuditEntry } from "./audit-log.ts";
import { limitConnections } from "./connection-limits.ts";
import { DashboardFiles, GUARD_HEADERS } from "../dashboard-files.ts";
import { openApi } from "./openapi.ts";
import type { OperationName, RequestOf, ResponseOf } from "./operations.ts";
import { SeldomTold } from "./seldom-told.ts";
import type { HostTls } from "../certificates/tls-folder.ts";
import type { EventView, EventsRequest } from "./views.ts";

const REQUEST_MS_MAX = 10_000;
const CLOSE_MS_MAX = 3000;
const FOLLOWERS_MAX = 64;
const SOCKET_MODE = 0o660;
/** The one thing that who has a token may ask for, and no certificate. */
const JOIN_PATH = "/v1/join";
/** For hosts alone, with their certificate. */
const RENEW_PATH = "/v1/renew";
/** What is beside the operations, and the scope that each belongs to. */
const PLAIN_PATHS: Readonly<Record<string, string>> = {
  "/metrics": "metrics",
  "/healthz": "health",
  "/readyz": "health",
  "/openapi.json": "openapi",
};
/** So that a proxy or a client with a time-out sees that the stream lives. */
const FOLLOW_BEAT_MS = 15_000;

export type Handlers = {
  readonly [N in OperationName]: (request: RequestOf<N>) => Promise<ResponseOf<N>>;
};

export interface ApiBackend {
  readonly handlers: Handlers;
  /** Requests that come earlier wait for it. */
  readonly ready: Promise<void>;
  metricsText(): Promise<string>;
  /** Why the host is not healthy enough to be sent work, or undefined. */
  unhealthyReason(): Promise<string | undefined>;
  /** Why the host cannot take on work; answers while the host starts, too. */
  unreadyReason(): Promise<string | undefined>;
  /** Fails as `AccessDesk.principalOf`. */
  principalOf(token: string, remote: string): Promise<Principal>;
  audit(entry: NewAuditEntry): void;
  /** Calls `listener` for each new event; returns how to stop. */
  followEvents(listener: (event: EventView) => void): () => void;
  /** Of a host that has no certificate yet; undefined where nobody can join. */
  readonly join: ((request: unknown, remote: string) => Promise<object>) | undefined;
  /** Of a host whose certificate is to be made anew; as `join`. */
  readonly renew: ((request: unknown, hostId: string) => Promise<object>) | undefined;
  /** Somebody was refused before anything was asked. */
  reportRefusal(remote: string | undefined, cause: string): void;
  /** A failure that is a bug: for the log. */
  reportBug(operation: string, error: unknown): void;
}

const TYPING_MS = 60_000;

export class HttpApi {
  readonly #backend: ApiBackend;
  readonly #tls: HostTls | undefined;
  readonly #servers: Server[] = [];
  readonly #followers = new Set<ServerResponse>();
  readonly #dashboard: DashboardFiles;
  readonly #typing = new SeldomTold({ nowMs: () => performance.now() }, TYPING_MS);

  /** With `tls` TCP is for those who show a certificate of the cluster. */
  constructor(
    backend: ApiBackend,
    tls?: HostTls,
    dashboard: DashboardFiles = new DashboardFiles(),
  ) {
    this.#backend = backend;
    this.#tls = tls;
    this.#dashboard = dashboard;
  }

  /**
   * Resolves with the port. Fails with `address-in-use`, `address-invalid` or `permission-denied`.
   */
  async listen(host: string, port: number): Promise<number> {
    const server = await this.#serve({ host, port }, `${host}:${port}`, this.#tls);
    return (server.address() as AddressInfo).port;
  }

  /** For the owner and the group of the socket, without certificates. */
  async listenUnix(path: string): Promise<void> {
    // The state directory's lock is held: what is there was left behind.
    rmSync(path, { force: true });
    await this.#serve({ path }, path, undefined);
    chmodSync(path, SOCKET_MODE);
  }

  async #serve(where: ListenOptions, name: string, tls: HostTls | undefined): Promise<Server> {
    const server = makeApiServer(
      (request, response) => void this.#answer(request, response, tls),
      tls,
      (remote, cause) => this.#backend.reportRefusal(remote, cause),
    );
    server.requestTimeout = REQUEST_MS_MAX;
    server.headersTimeout = REQUEST_MS_MAX;
    limitConnections(server);
    await new Promise<void>((resolve, reject) => {
      const refuse = (error: Error): void => reject(listenError(error, name));
      server.once("error", refuse);
      server.listen(where, () => {
        server.off("error", refuse);
        resolve();
      });
    });
    this.#servers.push(server);
    return server;
  }

  /** No new requests; those under way are answered; followers are let go. */
  async close(): Promise<void> {
    for (const follower of this.#followers) follower.end();
    const closed = this.#servers.map(
      (server) => new Promise<void>((resolve) => void server.close(() => resolve())),
    );
    for (const server of this.#servers) server.closeIdleConnections();
    const cutOff = setTimeout(() => {
      for (const server of this.#servers) server.closeAllConnections();
    }, CLOSE_MS_MAX);
    await Promise.all(closed);
    clearTimeout(cutOff);
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    tls: HostTls | undefined,
  ): Promise<void> {
    // A client that goes away while it is answered costs only its own connection.
    response.on("error", () => response.destroy());
    const url = urlOf(request);
    try {
      checkOrigin(request, tls !== undefined);
      // A page asks for a token; what it is made of is no secret.
      if (this.#dashboard.answer(request, response, url.pathname)) return;
      if (request.method === "POST" && url.pathname === JOIN_PATH) {
        await this.#backend.ready;
        sendJson(response, 200, await this.#join(request));
        return;
      }
      if (request.method === "POST" && url.pathname === RENEW_PATH) {
        await this.#backend.ready;
        sendJson(response, 200, await this.#renew(request, tls));
        return;
      }
      const principal = await this.#principalOf(request, tls);
      if (request.method === "GET" && (await this.#answerPlain(principal, response, url))) return;
      await this.#backend.ready;
      await this.#route(principal, request, response, url);
    } catch (error) {
      if (error instanceof CodedError) {
        sendFault(response, error.fault);
        return;
      }
      this.#backend.reportBug(`${request.method ?? ""} ${url.pathname}`, error);
      const hint = "Report it with the host's log";
      sendFault(response, { code: "bug", message: `a bug: ${errorText(error)}`, hint });
    }
  }

  /** What is beside the operations. False if the path is none of it. */
  async #answerPlain(
    principal: Principal,
    response: ServerResponse,
    { pathname }: URL,
  ): Promise<boolean> {
    const scope = PLAIN_PATHS[pathname];
    if (scope === undefined) return false;
    checkRight(principal, { role: "viewer", scope, what: pathname });
    if (pathname === "/readyz") {
      sendReason(response, await this.#backend.unreadyReason());
      return true;
    }
    await this.#backend.ready;
    if (pathname === "/healthz") sendReason(response, await this.#backend.unhealthyReason());
    else if (pathname === "/openapi.json") sendJson(response, 200, openApi());
    else {
      const text = await this.#backend.metricsText();
      response.writeHead(200, { ...GUARD_HEADERS, "content-type": "text/plain; version=0.0.4" });
      response.end(text);
    }
    return true;
  }

  async #route(
    principal: Principal,
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
  ): Promise<void> {
    const { operation, pathFields } = matchOperation(request.method ?? "", url.pathname);
    const { name, role, method, words } = operation;
    const remote = request.socket.remoteAddress ?? "a socket";
    const audit = (target: string, outcome: string): void => {
      if (method === "GET") return;
      const { who } = principal;
      // Of what somebody types on one machine an entry a minute, not one for each key.
      const isTyped = name === "vm.type" && outcome === "done";
      if (isTyped && this.#typing.due(`${who} ${target}`) === undefined) return;
      this.#backend.audit({ who, remote, operation: name, target, outcome });
    };
    let target = Object.values(pathFields).join(" ");
    try {
      checkRight(principal, { role, scope: name.split(".")[0] ?? name, what: words.join(" ") });
      const body = await readBody(request);
      const value = { ...queryFields(operation, url), ...body, ...pathFields };
      if (typeof body["name"] === "string") target ||= body["name"];
      const checked = checkRequest(operation, value);
      if (name === "events" && value["follow"] === true) {
        await this.#follow(response, checked as EventsRequest);
        return;
      }
      const answer = await this.#run(name, checked);
      // Who asks only what would happen has changed nothing.
      audit(target, value["dryRun"] === true ? "dry-run" : "done");
      sendJson(response, 200, answer);
    } catch (error) {
      audit(target, error instanceof CodedError ? error.code : "bug");
      throw error;
    }
  }

  /** Who shows a token is who it is for; others by the way on which they come. */
  async #principalOf(request: IncomingMessage, tls: HostTls | undefined): Promise<Principal> {
    const remote = request.socket.remoteAddress ?? "a socket";
    try {
      const token = bearerOf(request);
      if (token !== undefined) {
        await this.#backend.ready;
        return await this.#backend.principalOf(token, remote);
      }
      const shown = tls === undefined ? undefined : checkAccess(request, tls);
      const who = shown === undefined ? "local" : `${shown.role} ${shown.name}`;
      return { who, role: "admin", scopes: undefined };
    } catch (error) {
      this.#backend.reportRefusal(remote, errorText(error));
      throw error;
    }
  }

  async #join(request: IncomingMessage): Promise<object> {
    const { join } = this.#backend;
    const body = await readBody(request);
    if (join !== undefined) return await join(body, request.socket.remoteAddress ?? "a socket");
    throw new CodedError({
      code: "not-supported",
      message: "this host is not part of a cluster that others can join",
      hint: "drystone init makes a cluster",
    });
  }

  async #renew(request: IncomingMessage, tls: HostTls | undefined): Promise<object> {
    const { renew } = this.#backend;
    const shown = tls && checkAccess(request, tls);
    const body = await readBody(request);
    if (renew !== undefined && shown?.role === "host") return await renew(body, shown.name);
    throw new CodedError({
      code: "not-supported",
      message: "certificates are renewed for hosts that show theirs",
      hint: "run drystone certificate renew, on the host",
    });
  }

  async #run<N extends OperationName>(name: N, request: unknown): Promise<unknown> {
    const handler = this.#backend.handlers[name];
    return await handler(request as RequestOf<N>); // Checked against the row's shape by the caller.
  }

  async #follow(response: ServerResponse, request: EventsRequest): Promise<void> {
    if (this.#followers.size >= FOLLOWERS_MAX) {
      const message = `${FOLLOWERS_MAX} connections follow events already`;
      throw new CodedError({ code: "too-many-requests", message, hint: "Close one of them" });
    }
    const send = (event: EventView): void => {
      // A follower that does not read is let go instead of being queued for without limit.
      if (response.writableLength > 1 << 20) response.destroy();
      else response.write(`id: ${event.sequence}\ndata: ${JSON.stringify(event)}\n\n`);
    };
    let stop = (): void => {};
    this.#followers.add(response);
    // Before anything is waited for: a follower may leave meanwhile.
    response.once("close", () => {
      stop();
      this.#followers.delete(response);
    });
    const past = await this.#backend.handlers.events(request);
    if (!this.#followers.has(response) || response.writableEnded) return;
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write(": events\n\n");
    for (const event of past.events) send(event);
    const unfollow = this.#backend.followEvents((event) => {
      if (event.sequence > past.lastSequence) send(event);
    });
    const beat = setInterval(() => response.write(":\n\n"), FOLLOW_BEAT_MS);
    stop = () => {
      clearInterval(beat);
      unfollow();
    };
  }
}

/** Never fails: whatever is not a path, such as `*` or an address, is a path that nothing is at. */
function urlOf({ url: target = "" }: IncomingMessage): URL {
  return new URL(`http://localhost${target.startsWith("/") ? "" : "/"}${target}`);
}

/**
 * The API has no authentication on the loopback address, so web pages must not reach it through a
 * visitor's browser: neither from another origin, nor under another name that resolves to this
 * machine. Under TLS a browser believes only names that the certificate has, or that a proxy in
 * front has one for, and there any name will do.
 */
function checkOrigin(request: IncomingMessage, isTls: boolean): void {
  const { origin, host = "" } = request.headers;
  const site = request.headers["sec-fetch-site"];
  const isNavigation = request.headers["sec-fetch-mode"] === "navigate";
  const isForeign = (site === "cross-site" || site === "same-site") && !isNavigation;
  const name = host.replace(/:\d*$/, "");
  const isPlainName =
    isTls ||
    name === "localhost" ||
    isIP(name.replace(/^\[|\]$/g, "")) !== 0 ||
    name === hostname();
  const isOwn = origin === `http://${host}` || origin === `https://${host}`;
  if (isPlainName && !isForeign && (origin === undefined || isOwn)) return;
  throw new CodedError({
    code: "origin-refused",
    message: "requests from web pages of other origins are refused",
    hint: "Use the address of the host itself",
  });
}

function listenError(error: Error & { code?: string }, address: string): Error {
  if (error.code === "EADDRINUSE") {
    return new CodedError({
      code: "address-in-use",
      message: `the API cannot listen on ${address}: another process does`,
      hint: "Stop that process (ss -ltnp shows it), or choose another port with apiAddress or --api-port",
    });
  }
  if (error.code === "EADDRNOTAVAIL" || error.code === "ENOTFOUND" || error.code === "EAI_AGAIN") {
    return new CodedError({
      code: "address-invalid",
      message: `the API cannot listen on ${address}: it is not an address of this machine`,
      hint: "Use 127.0.0.1, 0.0.0.0 or an address that `ip address` shows",
    });
  }
  if (error.code === "EACCES") {
    return new CodedError({
      code: "permission-denied",
      message: `the API cannot listen on ${address}: not permitted`,
      hint: "Use a port above 1023, or run as root",
    });
  }
  return error;
}
