/**
 * A minimal NBD client for tests: one connection, many requests in flight, simple replies. It
 * exists because a test of crashes must know which write was acknowledged and which was merely
 * sent, which no tool reports. Source: the NBD protocol document of the nbd project (doc/proto.md).
 */
import * as net from "node:net";

export interface NbdAddress {
  readonly socket: string;
  readonly exportName: string;
}

export class NbdError extends Error {
  override readonly name: string = "NbdError";
  /** The protocol's error number: 5 EIO, 22 EINVAL, 28 ENOSPC and so on. */
  readonly errno: number;

  constructor(errno: number, what: string) {
    super(`${what}: the server answered with error ${errno}`);
    this.errno = errno;
  }
}

/** The connection went away: nobody knows whether the request was carried out. */
export class NbdConnectionLost extends Error {
  override readonly name: string = "NbdConnectionLost";
}

interface Pending {
  readonly what: string;
  readonly readLength: number;
  resolve(data: Buffer): void;
  reject(error: Error): void;
}

const GREETING_MAGIC = 0x4e42444d41474943n; // "NBDMAGIC"
const OPTION_MAGIC = 0x49484156454f5054n; // "IHAVEOPT"
const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
const OPTION_GO = 7;
const REPLY_ACK = 1;
const REPLY_INFO = 3;
const INFO_EXPORT = 0;
const FLAGS_FIXED_NEWSTYLE_NO_ZEROES = 3;
const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;
const COMMAND = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6 } as const;
const FLAG_FUA = 1;

type CommandName = keyof typeof COMMAND;

export class NbdClient {
  sizeBytes = 0;
  transmissionFlags = 0;
  readonly #socket: net.Socket;
  readonly #reader: ByteReader;
  readonly #pending = new Map<bigint, Pending>();
  #cookie = 0n;
  #lost: NbdConnectionLost | undefined;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    this.#reader = new ByteReader(socket);
  }

  static async connect(address: NbdAddress): Promise<NbdClient> {
    const socket = net.connect(address.socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve).once("error", reject);
    });
    const client = new NbdClient(socket);
    try {
      await client.#negotiate(address.exportName);
    } catch (error) {
      socket.destroy();
      throw error;
    }
    void client.#receive();
    return client;
  }

  /** True once the connection is gone; every request in flight was rejected. */
  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  read(offset: number, length: number): Promise<Buffer> {
    return this.#send("read", offset, length);
  }

  async write(offset: number, data: Uint8Array, isFua = false): Promise<void> {
    await this.#send("write", offset, data.length, data, isFua ? FLAG_FUA : 0);
  }

  async flush(): Promise<void> {
    await this.#send("flush", 0, 0);
  }

  async trim(offset: number, length: number): Promise<void> {
    await this.#send("trim", offset, length);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.#send("writeZeroes", offset, length);
  }

  /** Says goodbye and closes. Requests still in flight are rejected. */
  async close(): Promise<void> {
    if (this.#lost === undefined) this.#socket.write(request("disconnect", 0n, 0, 0, 0));
    const closed = new Promise<void>((resolve) => this.#socket.once("close", () => resolve()));
    if (this.#socket.closed) return;
    this.#socket.end();
    this.#socket.destroySoon();
    await closed;
  }

  async #negotiate(exportName: string): Promise<void> {
    const greeting = await this.#reader.take(18);
    if (
      greeting.readBigUInt64BE(0) !== GREETING_MAGIC ||
      greeting.readBigUInt64BE(8) !== OPTION_MAGIC
    ) {
      throw new Error("not a newstyle NBD server");
    }
    const name = Buffer.from(exportName);
    const hello = Buffer.alloc(4 + 16 + 4 + name.length + 2);
    hello.writeUInt32BE(FLAGS_FIXED_NEWSTYLE_NO_ZEROES, 0);
    hello.writeBigUInt64BE(OPTION_MAGIC, 4);
    hello.writeUInt32BE(OPTION_GO, 12);
    hello.writeUInt32BE(4 + name.length + 2, 16);
    hello.writeUInt32BE(name.length, 20);
    name.copy(hello, 24);
    this.#socket.write(hello);
    while (await this.#optionReply(exportName));
  }

  /** Reads one reply to GO; false after the last one. */
  async #optionReply(exportName: string): Promise<boolean> {
    const header = await this.#reader.take(20);
    if (header.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC) throw new Error("bad option reply magic");
    const kind = header.readUInt32BE(12);
    const data = await this.#reader.take(header.readUInt32BE(16));
    if (kind === REPLY_ACK) return false;
    if (kind !== REPLY_INFO) {
      const code = (kind & 0x7fff_ffff).toString();
      throw new Error(`export "${exportName}" refused (reply ${code}): ${data.toString("utf8")}`);
    }
    if (data.readUInt16BE(0) === INFO_EXPORT) {
      this.sizeBytes = Number(data.readBigUInt64BE(2));
      this.transmissionFlags = data.readUInt16BE(10);
    }
    return true;
  }

  #send(
    name: CommandName,
    offset: number,
    length: number,
    data?: Uint8Array,
    flags = 0,
  ): Promise<Buffer> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    const cookie = ++this.#cookie;
    return new Promise<Buffer>((resolve, reject) => {
      const what = `${name} of ${length} bytes at ${offset}`;
      this.#pending.set(cookie, {
        what,
        readLength: name === "read" ? length : 0,
        resolve,
        reject,
      });
      this.#socket.cork();
      this.#socket.write(request(name, cookie, offset, length, flags));
      if (data !== undefined) this.#socket.write(data);
      this.#socket.uncork();
    });
  }

  async #receive(): Promise<void> {
    try {
      for (;;) await this.#reply();
    } catch (error) {
      this.#lost =
        error instanceof NbdConnectionLost ? error : new NbdConnectionLost(String(error));
      this.#socket.destroy();
      for (const pending of this.#pending.values()) pending.reject(this.#lost);
      this.#pending.clear();
    }
  }

  async #reply(): Promise<void> {
    const header = await this.#reader.take(16);
    const cookie = header.readBigUInt64BE(8);
    const errno = header.readUInt32BE(4);
    const pending = this.#pending.get(cookie);
    if (header.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC || pending === undefined) {
      throw new Error("the server sent no reply to any request");
    }
    if (errno !== 0) {
      this.#pending.delete(cookie);
      pending.reject(new NbdError(errno, pending.what));
      return;
    }
    const data = await this.#reader.take(pending.readLength);
    this.#pending.delete(cookie);
    pending.resolve(data);
  }
}

function request(
  name: CommandName,
  cookie: bigint,
  offset: number,
  length: number,
  flags: number,
): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt32BE(REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(flags, 4);
  bytes.writeUInt16BE(COMMAND[name], 6);
  bytes.writeBigUInt64BE(cookie, 8);
  bytes.writeBigUInt64BE(BigInt(offset), 16);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

/** Turns a stream into exact lengths for one reader. */
class ByteReader {
  #chunks: Buffer[] = [];
  #available = 0;
  #lost: NbdConnectionLost | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: net.Socket) {
    socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#available += chunk.length;
      this.#wake?.();
    });
    const lose = (why: string): void => {
      this.#lost ??= new NbdConnectionLost(why);
      this.#wake?.();
    };
    socket.on("error", (error) => lose(error.message));
    socket.on("close", () => lose("the server closed the connection"));
  }

  async take(length: number): Promise<Buffer> {
    while (this.#available < length) {
      if (this.#lost !== undefined) throw this.#lost;
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
    if (length === 0) return Buffer.alloc(0);
    const first = this.#chunks[0]!;
    const all = first.length >= length ? first : Buffer.concat(this.#chunks);
    const rest = all.subarray(length);
    const others = all === first ? this.#chunks.slice(1) : [];
    this.#chunks = rest.length > 0 ? [rest, ...others] : others;
    this.#available -= length;
    return all.subarray(0, length);
  }
}
