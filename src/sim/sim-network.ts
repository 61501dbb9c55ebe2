import { assert, CodedError } from "../base/index.ts";
import type { ByteStream, Listener, Network, NetworkAddress } from "../ports/index.ts";
import type { FabricListener, NetworkFabric } from "./network-fabric.ts";
import type { SimMachine } from "./sim-machine.ts";
import { SimStream } from "./sim-stream.ts";

const LOOPBACK = ["127.0.0.1", "localhost", "::1"];
const ANY = ["0.0.0.0", "::"];
const UNIX_PATH_BYTES_MAX = 107;
const EPHEMERAL_PORT_FIRST = 32_768;

/**
 * One machine's access to the fabric. A connection leaves from the machine's address that shares
 * the longest beginning with the target, so that `10.1.*` and `10.2.*` are two networks. Unix
 * sockets and loopback addresses stay within the machine.
 */
export class SimNetwork implements Network {
  readonly #machine: SimMachine;
  readonly #fabric: NetworkFabric;
  readonly #addresses: readonly string[];
  readonly #loopback: string;
  readonly #streams = new Set<WeakRef<SimStream>>();
  readonly #listening = new Set<string>();

  constructor(machine: SimMachine, fabric: NetworkFabric, addresses: readonly string[]) {
    assert(addresses.length > 0, "a machine needs an address");
    this.#machine = machine;
    this.#fabric = fabric;
    this.#addresses = addresses;
    this.#loopback = `loopback of ${addresses[0]}`;
    for (const address of [...addresses, this.#loopback]) fabric.attach(address, machine);
  }

  async listen(address: NetworkAddress, accept: (stream: ByteStream) => void): Promise<Listener> {
    await this.#pass(0);
    const chosen = this.#withPort(this.#checked(address));
    const keys = this.#listenKeys(chosen);
    for (const key of keys) {
      if (this.#fabric.listeners.get(key)?.machine.isOn === true) throw inUse(chosen);
    }
    const listener: FabricListener = {
      machine: this.#machine,
      admit: ({ from, to }) => {
        const stream = this.#stream(to, from);
        this.#machine.schedule(0, () => accept(stream));
        return stream;
      },
    };
    for (const key of keys) {
      this.#fabric.listeners.set(key, listener);
      this.#listening.add(key);
    }
    return { address: chosen, close: async () => await this.#unlisten(keys) };
  }

  async connect(address: NetworkAddress): Promise<ByteStream> {
    const { key, from, to } = this.#route(this.#checked(address));
    await this.#pass(this.#fabric.drawLatencyMs());
    if (this.#isUnreachable(from, to)) {
      await this.#pass(this.#fabric.connectTimeoutMs);
      throw failure("connection-timeout", address, "nobody answers");
    }
    const listener = this.#fabric.listeners.get(key);
    if (listener === undefined || !listener.machine.isOn) {
      await this.#pass(this.#fabric.drawLatencyMs());
      throw failure("connection-refused", address, "nobody listens there");
    }
    const near = this.#stream(from, to);
    const far = listener.admit({ from, to });
    assert(far instanceof SimStream, "a listener of another kind");
    SimStream.join(near, far);
    await this.#pass(this.#fabric.drawLatencyMs());
    return near;
  }

  /**
   * The process dies and its kernel closes what it had; here nothing is called any more. The other
   * ends see a reset, which drops what they have not read, or read all of it and then find the end.
   */
  kill(last: "reset" | "end" = "reset"): void {
    for (const reference of this.#streams) reference.deref()?.abandon(last);
    for (const key of this.#listening) this.#fabric.listeners.delete(key);
  }

  #pass(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#machine.schedule(delayMs, resolve));
  }

  async #unlisten(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      this.#fabric.listeners.delete(key);
      this.#listening.delete(key);
    }
    await this.#pass(0);
  }

  #stream(localAddress: string, remoteAddress: string): SimStream {
    const stream = new SimStream({
      machine: this.#machine,
      fabric: this.#fabric,
      localAddress,
      remoteAddress,
    });
    this.#streams.add(new WeakRef(stream));
    return stream;
  }

  #isUnreachable(from: string, to: string): boolean {
    if (!this.#fabric.isAlive(to)) return true;
    return this.#fabric.isBlocked(from, to) || this.#fabric.isBlocked(to, from);
  }

  #checked(address: NetworkAddress): NetworkAddress {
    if (address.kind === "unix") {
      const length = utf8Length(address.path);
      if (length > 0 && length <= UNIX_PATH_BYTES_MAX) return address;
      throw failure("address-invalid", address, "a socket path has 1 to 107 bytes");
    }
    const isPort = Number.isInteger(address.port) && address.port >= 0 && address.port <= 65_535;
    if (isPort && address.host.length > 0) return address;
    throw failure("address-invalid", address, "a host and a port from 0 to 65535 are needed");
  }

  #withPort(address: NetworkAddress): NetworkAddress {
    if (address.kind === "unix" || address.port !== 0) return address;
    for (let port = EPHEMERAL_PORT_FIRST; port < 65_536; port++) {
      const candidate: NetworkAddress = { ...address, port };
      if (this.#listenKeys(candidate).every((key) => !this.#fabric.listeners.has(key))) {
        return candidate;
      }
    }
    throw inUse(address);
  }

  #listenKeys(address: NetworkAddress): string[] {
    if (address.kind === "unix") return [`${this.#loopback} ${address.path}`];
    const { host, port } = address;
    if (LOOPBACK.includes(host)) return [`${this.#loopback} ${port}`];
    if (ANY.includes(host))
      return [this.#loopback, ...this.#addresses].map((own) => `${own} ${port}`);
    if (this.#addresses.includes(host)) return [`${host} ${port}`];
    throw failure("address-invalid", address, "the address is not one of this machine");
  }

  #route(address: NetworkAddress): { key: string; from: string; to: string } {
    const own = this.#loopback;
    if (address.kind === "unix") return { key: `${own} ${address.path}`, from: own, to: own };
    const { host, port } = address;
    if (LOOPBACK.includes(host)) return { key: `${own} ${port}`, from: own, to: own };
    return { key: `${host} ${port}`, from: this.#nearest(host), to: host };
  }

  #nearest(target: string): string {
    const shared = (address: string): number => {
      let length = 0;
      while (length < address.length && address[length] === target[length]) length++;
      return length;
    };
    return this.#addresses.reduce((best, next) => (shared(next) > shared(best) ? next : best));
  }
}

function addressText(address: NetworkAddress): string {
  return address.kind === "unix" ? address.path : `${address.host}:${address.port}`;
}

function failure(code: string, address: NetworkAddress, cause: string): CodedError {
  return new CodedError({ code, message: `cannot reach ${addressText(address)}: ${cause}` });
}

function inUse(address: NetworkAddress): CodedError {
  return new CodedError({
    code: "address-in-use",
    message: `cannot listen on ${addressText(address)}: the address is in use`,
    hint: "stop the other process or choose another address",
  });
}

function utf8Length(text: string): number {
  let length = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    length += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return length;
}
