/**
 * One connection to a volume that a host offers over NBD, many requests at once. Source: the NBD
 * protocol document of the nbd project (doc/proto.md); fixed newstyle, simple replies.
 */
import * as net from "node:net";
import { CodedError } from "../base/index.ts";
import { ByteSource } from "./byte-source.ts";

const GREETING_MAGIC = 0x4e42444d41474943n; // "NBDMAGIC"
const OPTION_MAGIC = 0x49484156454f5054n; // "IHAVEOPT"
const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
const OPTION_GO = 7;
const REPLY_ACK = 1;
const REPLY_INFO = 3;
const FLAGS_FIXED_NEWSTYLE_NO_ZEROES = 3;
const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;
const READ = 0;
const WRITE = 1;
const DISCONNECT = 2;
const FLUSH = 3;
const WRITE_ZEROES = 6;
const ERRNO_NO_SPACE = 28;

interface Waiting {
  readonly readBytes: number;
  resolve(data: Buffer): void;
  reject(error: Error): void;
}

export class NbdClient {
  readonly #socket: net.Socket;
  readonly #source: ByteSource;
  readonly #waiting = new Map<bigint, Waiting>();
  #cookie = 0n;
  #lost: CodedError | undefined;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    this.#source = new ByteSource(socket);
  }

  /** Fails with `volume-unreachable`. */
  static async connect(uri: string): Promise<NbdClient> {
    const { exportName, options } = addressOf(uri);
    const socket = net.connect(options);
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve).once("error", reject);
      });
      const client = new NbdClient(socket);
      await client.#negotiate(exportName);
      void client.#receive();
      return client;
    } catch (error) {
      socket.destroy();
      throw new CodedError(
        {
          code: "volume-unreachable",
          message: `the volume cannot be reached at ${uri}`,
          hint: "run this on the host that offers it, or attach it with --nbd ADDRESS:PORT first",
        },
        { cause: error },
      );
    }
  }

  read(offset: number, lengthBytes: number): Promise<Buffer> {
    return this.#send(READ, offset, lengthBytes);
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    await this.#send(WRITE, offset, data.length, data);
  }

  async writeZeroes(offset: number, lengthBytes: number): Promise<void> {
    await this.#send(WRITE_ZEROES, offset, lengthBytes);
  }

  async flush(): Promise<void> {
    await this.#send(FLUSH, 0, 0);
  }

  close(): void {
    this.#lost ??= lost();
    this.#socket.end(request(DISCONNECT, 0n, 0, 0));
    this.#socket.destroySoon();
  }

  async #negotiate(exportName: string): Promise<void> {
    const greeting = await this.#source.take(18);
    const isNewStyle =
      greeting.readBigUInt64BE(0) === GREETING_MAGIC &&
      greeting.readBigUInt64BE(8) === OPTION_MAGIC;
    if (!isNewStyle) throw lost();
    const name = Buffer.from(exportName);
    const hello = Buffer.alloc(4 + 16 + 4 + name.length + 2);
    hello.writeUInt32BE(FLAGS_FIXED_NEWSTYLE_NO_ZEROES, 0);
    hello.writeBigUInt64BE(OPTION_MAGIC, 4);
    hello.writeUInt32BE(OPTION_GO, 12);
    hello.writeUInt32BE(4 + name.length + 2, 16);
    hello.writeUInt32BE(name.length, 20);
    name.copy(hello, 24);
    this.#socket.write(hello);
    for (;;) {
      const header = await this.#source.take(20);
      if (header.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC) throw lost();
      const kind = header.readUInt32BE(12);
      await this.#source.take(header.readUInt32BE(16));
      if (kind === REPLY_ACK) return;
      if (kind !== REPLY_INFO) throw lost();
    }
  }

  #send(command: number, offset: number, length: number, data?: Uint8Array): Promise<Buffer> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    const cookie = ++this.#cookie;
    return new Promise<Buffer>((resolve, reject) => {
      this.#waiting.set(cookie, { readBytes: command === READ ? length : 0, resolve, reject });
      this.#socket.cork();
      this.#socket.write(request(command, cookie, offset, length));
      // The bytes are copied: whoever called may use them again.
      if (data !== undefined) this.#socket.write(Buffer.from(data));
      this.#socket.uncork();
    });
  }

  async #receive(): Promise<void> {
    try {
      for (;;) await this.#reply();
    } catch {
      this.#lost ??= lost();
      this.#socket.destroy();
      for (const waiting of this.#waiting.values()) waiting.reject(this.#lost);
      this.#waiting.clear();
    }
  }

  async #reply(): Promise<void> {
    const header = await this.#source.take(16);
    const cookie = header.readBigUInt64BE(8);
    const errno = header.readUInt32BE(4);
    const waiting = this.#waiting.get(cookie);
    if (header.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC || waiting === undefined) throw lost();
    if (errno === 0) waiting.resolve(await this.#source.take(waiting.readBytes));
    else waiting.reject(refused(errno));
    this.#waiting.delete(cookie);
  }
}

function refused(errno: number): CodedError {
  if (errno === ERRNO_NO_SPACE)
    return new CodedError({
      code: "no-space",
      message: "the cluster has no space left for what is imported",
      hint: "add a device, or delete what is not needed: `drystone device list` shows the room",
    });
  return new CodedError({
    code: "volume-io-failed",
    message: `the volume answered with error ${errno}`,
    hint: "`drystone health list` tells what is wrong",
  });
}

function lost(): CodedError {
  return new CodedError({
    code: "volume-unreachable",
    message: "the connection to the volume broke",
    hint: "try again when its host runs",
  });
}

function addressOf(uri: string): { exportName: string; options: net.NetConnectOpts } {
  const url = new URL(uri);
  const exportName = decodeURIComponent(url.pathname.slice(1));
  const socket = url.searchParams.get("socket");
  if (socket !== null) return { exportName, options: { path: socket } };
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return { exportName, options: { host, port: Number(url.port) } };
}

function request(command: number, cookie: bigint, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt32BE(REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(command, 6);
  bytes.writeBigUInt64BE(cookie, 8);
  bytes.writeBigUInt64BE(BigInt(offset), 16);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}
