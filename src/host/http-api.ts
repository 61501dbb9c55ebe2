/**
 * The HTTP API: the operation table over `node:http`. JSON in and out, `GET /metrics` for
 * Prometheus, `GET /healthz` and `/readyz` for load balancers, server-sent events for `events` with
 * `follow`, and the dashboard's files for browsers.
 *
 * Limits: 64 KiB of body, 10 seconds for a request to arrive, 64 followers of events, 1000
 * connections. Every refusal is `{error: {code, message, hint}}` with the status that the code's
 * row names.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { chmodSync, rmSync } from "node:fs";
import { isIP } from "node:net";
import type { AddressInfo, ListenOptions } from "node:net";
import { hostname } from "node:os";
import { CodedError, errorText } from "../base/index.ts";
import type { Fault } from "../base/index.ts";
import { checkAccess, makeApiServer } from "./api-access.ts";
import { DashboardFiles, GUARD_HEADERS } from "./dashboard-files.ts";
import { httpStatusOf } from "./error-codes.ts";
import { nearest } from "./nearest.ts";
import { openApi } from "./openapi.ts";
import { operationNames, operationRow } from "./operations.ts";
import type { Operation, OperationName, RequestOf, ResponseOf } from "./operations.ts";
import { anyShape, isRecord, shapeProblems } from "./shape.ts";
import type { HostTls } from "./tls-folder.ts";
import type { EventView, EventsRequest } from "./views.ts";

const BODY_BYTES_MAX = 64 * 1024;
const REQUEST_MS_MAX = 10_000;
const CLOSE_MS_MAX = 3000;
const FOLLOWERS_MAX = 64;
const SOCKET_MODE = 0o660;
/** The one thing that who has a token may ask for, and no certificate. */
const JOIN_PATH = "/v1/join";
const CONNECTIONS_MAX = 1000;
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
  /** Calls `listener` for each new event; returns how to stop. */
  followEvents(listener: (event: EventView) => void): () => void;
  /** Of a host that has no certificate yet; undefined where nobody can join. */
  readonly join: ((request: unknown, remote: string) => Promise<object>) | undefined;
  /** Somebody was refused before anything was asked. */
  reportRefusal(remote: string | undefined, cause: string): void;
  /** A failure that is a bug: for the log. */
  reportBug(operation: string, error: unknown): void;
}

interface Match {
  readonly operation: Operation;
  readonly pathFields: Readonly<Record<string, string>>;
}

export class HttpApi {
  readonly #backend: ApiBackend;
  readonly #tls: HostTls | undefined;
  readonly #servers: Server[] = [];
  readonly #followers = new Set<ServerResponse>();
  readonly #dashboard = new DashboardFiles();

  /** With `tls` TCP is for those who show a certificate of the cluster. */
  constructor(backend: ApiBackend, tls?: HostTls) {
    this.#backend = backend;
    this.#tls = tls;
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
    server.maxConnections = CONNECTIONS_MAX;
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
      checkOrigin(request);
      const isJoin = request.method === "POST" && url.pathname === JOIN_PATH;
      if (tls !== undefined && !isJoin) this.#checkAccess(request, tls);
      if (request.method === "GET" && url.pathname === "/readyz") {
        sendReason(response, await this.#backend.unreadyReason());
        return;
      }
      await this.#backend.ready;
      if (isJoin) {
        sendJson(response, 200, await this.#join(request));
        return;
      }
      await this.#route(request, response, url);
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

  async #route(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    if (request.method === "GET" && url.pathname === "/metrics") {
      const text = await this.#backend.metricsText();
      response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end(text);
      return;
    }
    if (request.method === "GET" && url.pathname === "/healthz") {
      sendReason(response, await this.#backend.unhealthyReason());
      return;
    }
    if (request.method === "GET" && url.pathname === "/openapi.json") {
      sendJson(response, 200, openApi());
      return;
    }
    if (this.#dashboard.answer(request, response, url.pathname)) return;
    const match = matchOperation(request.method ?? "", url.pathname);
    const body = await readBody(request);
    const value = { ...queryFields(match.operation, url), ...body, ...match.pathFields };
    const checked = checkRequest(match.operation, value);
    if (match.operation.name === "events" && value["follow"] === true) {
      await this.#follow(response, checked as EventsRequest);
      return;
    }
    sendJson(response, 200, await this.#run(match.operation.name, checked));
  }

  #checkAccess(request: IncomingMessage, tls: HostTls): void {
    try {
      checkAccess(request, tls.clusterId);
    } catch (error) {
      this.#backend.reportRefusal(request.socket.remoteAddress, errorText(error));
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
    const past = await this.#backend.handlers.events({ ...request, follow: false });
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write(": events\n\n");
    for (const event of past.events) send(event);
    const stop = this.#backend.followEvents((event) => {
      if (event.sequence > past.lastSequence) send(event);
    });
    const beat = setInterval(() => response.write(":\n\n"), FOLLOW_BEAT_MS);
    this.#followers.add(response);
    response.on("close", () => {
      clearInterval(beat);
      stop();
      this.#followers.delete(response);
    });
  }
}

/** Never fails: whatever is not a path, such as `*` or an address, is a path that nothing is at. */
function urlOf({ url: target = "" }: IncomingMessage): URL {
  return new URL(`http://localhost${target.startsWith("/") ? "" : "/"}${target}`);
}

/**
 * The API has no authentication on the loopback address, so web pages must not reach it through a
 * visitor's browser: neither from another origin, nor under another name that resolves to this
 * machine.
 */
function checkOrigin(request: IncomingMessage): void {
  const { origin, host = "" } = request.headers;
  const site = request.headers["sec-fetch-site"];
  const isNavigation = request.headers["sec-fetch-mode"] === "navigate";
  const isForeign = (site === "cross-site" || site === "same-site") && !isNavigation;
  const name = host.replace(/:\d*$/, "");
  const isPlainName =
    name === "localhost" || isIP(name.replace(/^\[|\]$/g, "")) !== 0 || name === hostname();
  const isOwn = origin === `http://${host}` || origin === `https://${host}`;
  if (isPlainName && !isForeign && (origin === undefined || isOwn)) return;
  throw new CodedError({
    code: "origin-refused",
    message: "requests from web pages of other origins are refused",
    hint: "Use the address of the host itself",
  });
}

function matchOperation(method: string, pathname: string): Match {
  const matches: Match[] = [];
  for (const name of operationNames) {
    const operation = operationRow(name);
    const pathFields = matchPath(operation.path, pathname);
    if (pathFields !== undefined) matches.push({ operation, pathFields });
  }
  const found = matches.find(({ operation }) => operation.method === method);
  if (found !== undefined) return found;
  if (matches.length > 0) {
    const methods = matches.map(({ operation }) => operation.method).join(", ");
    const message = `${pathname} does not take ${method.slice(0, 16)}`;
    throw new CodedError({ code: "method-unknown", message, hint: `It takes ${methods}` });
  }
  const paths = operationNames.map((name) => operationRow(name).path);
  const suggestion = nearest(pathname, [...paths, "/metrics", "/healthz", "/readyz"]);
  throw new CodedError({
    code: "path-unknown",
    message: `there is nothing at ${pathname.slice(0, 80)}`,
    hint:
      suggestion === undefined
        ? "docs/operating/commands.md lists every path"
        : `Did you mean ${suggestion}?`,
  });
}

/** The values of the path's ":" segments, or undefined if the path is another one. */
function matchPath(pattern: string, pathname: string): Record<string, string> | undefined {
  const wanted = pattern.split("/");
  const given = pathname.split("/");
  if (wanted.length !== given.length) return undefined;
  const fields: Record<string, string> = {};
  for (const [index, segment] of wanted.entries()) {
    const text = given[index]!;
    if (segment.startsWith(":")) fields[segment.slice(1)] = decode(text);
    else if (segment !== text) return undefined;
  }
  return fields;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // Not percent-encoded: the name is then refused as any unknown one is.
  }
}

/** Query parameters as the kinds of value that the request's shape wants. */
function queryFields(operation: Operation, url: URL): Record<string, unknown> {
  const { fields } = anyShape(operation.request);
  const values: Record<string, unknown> = {};
  for (const [key, text] of url.searchParams) {
    const kind = fields[key]?.shape.kind;
    if (kind === "integer" && /^\d{1,16}$/.test(text)) values[key] = Number(text);
    else if (kind === "boolean" && (text === "" || text === "true")) values[key] = true;
    else if (kind === "boolean" && text === "false") values[key] = false;
    else values[key] = text;
  }
  return values;
}

function checkRequest(operation: Operation, value: unknown): unknown {
  const problems = shapeProblems(anyShape(operation.request), value);
  if (problems.length === 0) return value;
  const message = `${operation.name}: ${problems.join("; ")}`;
  const hint = "docs/operating/commands.md lists every field";
  throw new CodedError({ code: "request-invalid", message, hint });
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let lengthBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    lengthBytes += chunk.length;
    if (lengthBytes > BODY_BYTES_MAX) {
      const message = `the body exceeds ${BODY_BYTES_MAX} bytes`;
      throw new CodedError({ code: "request-too-large", message, hint: "Send less" });
    }
    chunks.push(chunk);
  }
  if (lengthBytes === 0) return {};
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    if (isRecord(value)) return value;
  } catch (error) {
    const message = `the body is not JSON: ${errorText(error)}`;
    throw new CodedError({ code: "request-invalid", message }, { cause: error });
  }
  throw new CodedError({ code: "request-invalid", message: "the body is not a JSON object" });
}

/** For load balancers and the like: 503 with the reason, if there is one. */
function sendReason(response: ServerResponse, reason: string | undefined): void {
  const status = reason === undefined ? 200 : 503;
  response.writeHead(status, { ...GUARD_HEADERS, "content-type": "text/plain" });
  response.end(`${reason ?? "ok"}\n`);
}

function sendFault(response: ServerResponse, fault: Fault): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (fault.code === "request-too-large") response.setHeader("connection", "close");
  sendJson(response, httpStatusOf(fault.code), { error: fault });
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const text = `${JSON.stringify(value)}\n`;
  response.writeHead(status, {
    ...GUARD_HEADERS,
    "content-type": "application/json",
    "cache-control": "no-store",
  });
  response.end(text);
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
