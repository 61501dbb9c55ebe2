/**
 * Byte streams over TCP and unix sockets, on `node:net`.
 *
 * A unix socket's path that a killed process left behind is taken over; one that somebody listens
 * on, and anything that is not a socket, is left alone. Unix sockets are for their owner and group
 * (0660).
 */
import { CodedError, errorText } from "../../base/index.ts";
import { chmodSync, existsSync, lstatSync, rmSync } from "node:fs";
import { connect as connectSocket, createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { dirname } from "node:path";
import type { ByteStream, Listener, Log, Network, NetworkAddress } from "../../ports/index.ts";
import { setSendBuffer } from "../memory/shared-sys.ts";
import { READ_OPTIONS, SocketStream, adoptAccepted, descriptorOf } from "./socket-stream.ts";
import type { ReadOptions } from "./socket-stream.ts";
import { systemErrorCode } from "../sys.ts";

/** sockaddr_un has room for 108 bytes, the last of which is zero. */
const UNIX_PATH_BYTES_MAX = 107;
const UNIX_MODE = 0o660;
/**
 * The machine's default, some 200 KiB, is less than two large replies: the process wakes up for
 * every piece that the other side takes. Measured with reads of 128 KiB over NBD: half as many
 * again.
 */
const UNIX_SEND_BUFFER_BYTES = 1 << 20;
export const CONNECT_TIMEOUT_MS = 10_000;

export interface StreamNetworkOptions {
  /** Told about connections that could not be accepted. */
  readonly log?: Log;
  readonly connectTimeoutMs?: number;
}

export class StreamNetwork implements Network {
  readonly #options: StreamNetworkOptions;

  constructor(options: StreamNetworkOptions = {}) {
    this.#options = options;
  }

  listen(address: NetworkAddress, accept: (stream: ByteStream) => void): Promise<Listener> {
    const { log } = this.#options;
    const take = (socket: Socket): void => {
      accept(streamOf(adoptAccepted(socket), address));
    };
    return listenForSockets(address, take, log);
  }

  async connect(address: NetworkAddress): Promise<ByteStream> {
    const socket = await openSocket(address, this.#options.connectTimeoutMs);
    return streamOf(socket, address);
  }
}

function streamOf(socket: Socket, address: NetworkAddress): ByteStream {
  if (address.kind === "unix") setSendBuffer(descriptorOf(socket), UNIX_SEND_BUFFER_BYTES);
  return new SocketStream(socket, addressText(address));
}

/** As `Network.listen`, with sockets that were not read from. */
export async function listenForSockets(
  address: NetworkAddress,
  take: (socket: Socket) => void,
  log?: Log,
): Promise<Listener> {
  checkAddress(address);
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, take);
  try {
    await listening(server, address);
  } catch (error) {
    if (!(await isStale(address, error))) throw listeningFault(address, error);
    rmSync(addressText(address), { force: true });
    await listening(server, address).catch((again: unknown) => {
      throw listeningFault(address, again);
    });
  }
  if (address.kind === "unix") chmodSync(address.path, UNIX_MODE);
  server.on("error", (error) => {
    const fields = { address: addressText(address), cause: errorText(error) };
    log?.write("warning", "a connection could not be accepted", fields);
  });
  return { address: boundAddress(server, address), close: () => closed(server) };
}

/** As `Network.connect`, with a socket that was not read from. */
export async function openSocket(
  address: NetworkAddress,
  timeoutMs: number = CONNECT_TIMEOUT_MS,
  readOptions: Partial<ReadOptions> = READ_OPTIONS,
): Promise<Socket> {
  checkAddress(address);
  const socket = connectSocket({ ...target(address), ...readOptions, allowHalfOpen: true });
  // Nothing is read before the stream is started.
  socket.pause();
  try {
    await connected(socket, timeoutMs);
    return socket;
  } catch (error) {
    socket.destroy();
    throw connectingFault(address, error);
  }
}

function target(address: NetworkAddress): { path: string } | { host: string; port: number } {
  return address.kind === "unix" ? { path: address.path } : address;
}

export function addressText(address: NetworkAddress): string {
  if (address.kind === "unix") return address.path;
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}

function checkAddress(address: NetworkAddress): void {
  const reason = addressInvalid(address);
  if (reason === undefined) return;
  throw new CodedError({
    code: "address-invalid",
    message: `${addressText(address)} is not an address: ${reason}`,
    hint: "Give HOST:PORT or the path of a unix socket",
    details: { address: addressText(address) },
  });
}

function addressInvalid(address: NetworkAddress): string | undefined {
  if (address.kind === "unix") {
    const pathBytes = Buffer.byteLength(address.path);
    if (pathBytes === 0) return "the path is empty";
    if (address.path.includes("\0")) return "the path has a zero byte";
    if (pathBytes > UNIX_PATH_BYTES_MAX) {
      return `the path of a unix socket has at most ${UNIX_PATH_BYTES_MAX} bytes, not ${pathBytes}`;
    }
    return undefined;
  }
  if (address.host === "") return "the host is empty";
  const inRange = Number.isInteger(address.port) && address.port >= 0 && address.port <= 65_535;
  return inRange ? undefined : "a port is a number from 0 to 65535";
}

function listening(server: Server, address: NetworkAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(target(address), () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function closed(server: Server): Promise<void> {
  // Its connections are streams of their own by now, so this waits for nothing but the loop.
  return new Promise((resolve) => server.close(() => resolve()));
}

function boundAddress(server: Server, address: NetworkAddress): NetworkAddress {
  const bound = server.address();
  if (address.kind === "unix" || bound === null || typeof bound === "string") return address;
  return { ...address, port: bound.port };
}

/** Whether a path is taken by nothing but the socket of a process that is gone. */
async function isStale(address: NetworkAddress, error: unknown): Promise<boolean> {
  if (address.kind !== "unix" || systemErrorCode(error) !== "EADDRINUSE") return false;
  if (lstatSync(address.path, { throwIfNoEntry: false })?.isSocket() !== true) return false;
  const probe = connectSocket({ path: address.path });
  try {
    await connected(probe, CONNECT_TIMEOUT_MS);
    return false;
  } catch (refusal) {
    return systemErrorCode(refusal) === "ECONNREFUSED";
  } finally {
    probe.destroy();
  }
}

function connected(socket: Socket, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      clearTimeout(timer);
      reject(error);
    };
    const timer = setTimeout(() => fail(new ConnectTimeout()), timeoutMs);
    socket.once("error", fail);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", fail);
      resolve();
    });
  });
}

class ConnectTimeout extends Error {
  readonly code = "ETIMEDOUT";

  constructor() {
    super("no answer in time");
  }
}

function listeningFault(address: NetworkAddress, error: unknown): CodedError {
  const text = addressText(address);
  const fault = (code: string, message: string, hint: string): CodedError =>
    new CodedError({ code, message, hint, details: { address: text } }, { cause: error });
  const code = systemErrorCode(error);
  if (code === "EADDRINUSE") {
    const hint = "Stop whatever listens there, or choose another address";
    return fault("address-in-use", `${text} is in use`, hint);
  }
  // libuv says EACCES for a folder that is missing, too.
  const isMissing = address.kind === "unix" && !existsSync(dirname(address.path));
  if (!isMissing && (code === "EACCES" || code === "EPERM")) {
    const hint = "Choose another address, or run with the rights it needs";
    return fault("permission-denied", `listening at ${text} is not permitted`, hint);
  }
  const cause = isMissing ? "its folder does not exist" : errorText(error);
  const hint = "Give an address, or a path in a folder, that exists on this machine";
  return fault("address-invalid", `cannot listen at ${text}: ${cause}`, hint);
}

const INVALID = new Set(["ENOTFOUND", "EAI_AGAIN", "EINVAL", "EADDRNOTAVAIL", "EAFNOSUPPORT"]);

function connectingFault(address: NetworkAddress, error: unknown): CodedError {
  const text = addressText(address);
  const fault = (code: string, message: string, hint: string): CodedError =>
    new CodedError({ code, message, hint, details: { address: text } }, { cause: error });
  if (isRefusal(error)) {
    const hint = "Check that the other end runs and listens there";
    return fault("connection-refused", `nobody listens at ${text}: ${errorText(error)}`, hint);
  }
  const code = systemErrorCode(error) ?? "";
  if (code === "ETIMEDOUT") {
    return fault("connection-timeout", `${text} did not answer`, "Check the host and the network");
  }
  if (INVALID.has(code)) {
    return fault("address-invalid", `${text}: ${errorText(error)}`, "Check the address");
  }
  const hint = "Check routes, cables and firewalls on the way";
  return fault("connection-failed", `${text} cannot be reached: ${errorText(error)}`, hint);
}

/**
 * Whether the machine itself has said that nobody listens: this counts as proof that the process
 * there is gone. A missing route, a full table of descriptors, a reset say nothing about it. Of a
 * name with several addresses each must have said so.
 */
function isRefusal(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.every(isRefusal);
  // ENOENT is a unix socket's.
  const code = systemErrorCode(error);
  return code === "ECONNREFUSED" || code === "ENOENT";
}
