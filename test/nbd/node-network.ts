/** `Network` on node:net, as plainly as possible, for tests of front ends with real clients. */
import * as net from "node:net";
import { CodedError, errorText } from "../../src/base/index.ts";
import type {
  ByteStream,
  ByteStreamHandler,
  Listener,
  Network,
  NetworkAddress,
} from "../../src/ports/index.ts";

export class NodeNetwork implements Network {
  listen(address: NetworkAddress, accept: (stream: ByteStream) => void): Promise<Listener> {
    const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
      accept(new NodeStream(socket));
    });
    return new Promise((resolve, reject) => {
      server.once("error", (error) => {
        reject(new CodedError({ code: "address-in-use", message: errorText(error) }));
      });
      server.listen(listenOptions(address), () => resolve(new NodeListener(server, address)));
    });
  }

  connect(address: NetworkAddress): Promise<ByteStream> {
    const options = address.kind === "unix" ? { path: address.path } : address;
    const socket = net.connect({ ...options, allowHalfOpen: true });
    return new Promise((resolve, reject) => {
      socket.once("connect", () => resolve(new NodeStream(socket)));
      socket.once("error", reject);
    });
  }
}

function listenOptions(address: NetworkAddress): net.ListenOptions {
  return address.kind === "unix"
    ? { path: address.path }
    : { host: address.host, port: address.port };
}

class NodeListener implements Listener {
  readonly address: NetworkAddress;
  readonly #server: net.Server;

  constructor(server: net.Server, address: NetworkAddress) {
    const bound = server.address();
    this.#server = server;
    this.address =
      address.kind === "tcp" && bound !== null && typeof bound === "object"
        ? { ...address, port: bound.port }
        : address;
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close();
      resolve();
    });
  }
}

class NodeStream implements ByteStream {
  readonly remote: string;
  readonly #socket: net.Socket;
  #handler: ByteStreamHandler | undefined;
  /** Tokens of pieces in the order of their writes; -1 are not reported. */
  #tokens: number[] = [];
  #isCorked = false;
  #error: string | undefined;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    this.remote = socket.remoteAddress ?? "unix";
    socket.setNoDelay(true);
    socket.on("error", (error) => {
      this.#error = errorText(error);
    });
  }

  start(handler: ByteStreamHandler): void {
    this.#handler = handler;
    this.#socket.on("data", (bytes) => handler.data(bytes));
    this.#socket.on("drain", () => handler.drained());
    this.#socket.on("end", () => handler.ended());
    this.#socket.on("close", () => handler.closed(this.#error));
    this.#socket.resume();
  }

  write(bytes: Uint8Array, token: number): boolean {
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      process.nextTick(this.#uncork);
    }
    this.#tokens.push(token);
    return this.#socket.write(bytes, this.#written);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  readonly #uncork = (): void => {
    this.#isCorked = false;
    this.#socket.uncork();
  };

  readonly #written = (): void => {
    const token = this.#tokens.shift()!;
    if (token >= 0 && !this.#socket.closed) this.#handler?.written(token);
  };
}
