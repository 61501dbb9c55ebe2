/**
 * Tells systemd how the service is, as sd_notify(3) does: a datagram to the unix socket that
 * `NOTIFY_SOCKET` names. Node has no datagrams on unix sockets.
 */
import { checked, closeDescriptor, nativeFunction, SystemCallError } from "./sys.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const PATH_AT = 2;
const PATH_BYTES_MAX = 108;

const socket = nativeFunction<(domain: number, type: number, protocol: number) => number>(
  "socket",
  "int",
  ["int", "int", "int"],
);

const sendTo = nativeFunction<
  (
    fd: number,
    data: Uint8Array,
    length: number,
    flags: number,
    address: Uint8Array,
    addressLength: number,
  ) => number
>("sendto", "int64_t", ["int", "const uint8_t *", "size_t", "int", "const uint8_t *", "uint32_t"]);

export class ServiceNotifier {
  readonly #fd: number;
  readonly #address: Uint8Array;

  private constructor(fd: number, address: Uint8Array) {
    this.#fd = fd;
    this.#address = address;
  }

  /** `path` as in NOTIFY_SOCKET: with "@" first it is in the abstract name space. */
  static open(path: string): ServiceNotifier {
    const name = Buffer.from(path.startsWith("@") ? `\0${path.slice(1)}` : path);
    if (name.length > PATH_BYTES_MAX) throw new SystemCallError("socket", 36); // ENAMETOOLONG
    const address = new Uint8Array(PATH_AT + name.length);
    new DataView(address.buffer).setUint16(0, AF_UNIX, true);
    address.set(name, PATH_AT);
    const fd = checked("socket", socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    return new ServiceNotifier(fd, address);
  }

  /** Lines such as READY=1. Fails with a SystemCallError; nobody waits for systemd. */
  send(text: string): void {
    const data = Buffer.from(text);
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const address = this.#address;
    checked("sendto", sendTo(this.#fd, data, data.length, flags, address, address.length));
  }

  close(): void {
    closeDescriptor(this.#fd);
  }
}
