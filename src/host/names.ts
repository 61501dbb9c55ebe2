/** Names of hosts, and the addresses that users may give: checked once, at the edge. */
import { isAbsolute } from "node:path";
import { CodedError } from "../base/index.ts";
import type { NetworkAddress } from "../ports/index.ts";

/**
 * Longer texts are not even looked at as names; the rule for volumes itself is the cluster floor's.
 */
export const NAME_LENGTH_MAX = 1024;
/** The path of a unix socket must fit into `sockaddr_un` with its final zero. */
export const SOCKET_PATH_BYTES_MAX = 107;
/** Queues that a volume offers to a virtual machine. */
export const VHOST_QUEUES_MAX = 64;
/** `UID:GID`. */
export const OWNER_PATTERN: RegExp = /^(\d{1,9}):(\d{1,9})$/;
/** Longer addresses are no addresses. */
export const ADDRESS_LENGTH_MAX = 1024;

/** Why a host cannot have this name. */
export function hostNameInvalid(name: string): string | undefined {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) return undefined;
  return `is ${JSON.stringify(printable(name))}: use 1 to 63 letters, digits, ".", "_" and "-", first a letter or digit`;
}

/**
 * Why an NBD address is refused: it is a socket's absolute path (with or without `unix:`) or
 * `address:port`.
 */
export function nbdAddressInvalid(text: string): string | undefined {
  try {
    parseAddress(text);
    return undefined;
  } catch (error) {
    if (error instanceof CodedError) return error.message;
    throw error;
  }
}

/** Why a path is refused that a socket is to be made at. */
export function socketPathInvalid(text: string): string | undefined {
  if (!isAbsolute(text)) return `"${printable(text)}" is no absolute path of a socket`;
  const lengthBytes = Buffer.byteLength(text);
  if (lengthBytes <= SOCKET_PATH_BYTES_MAX) return undefined;
  return `the socket path has ${lengthBytes} bytes, the most is ${SOCKET_PATH_BYTES_MAX}`;
}

/** Why the owner of a socket is refused. */
export function ownerInvalid(text: string): string | undefined {
  if (OWNER_PATTERN.test(text)) return undefined;
  return `"${printable(text)}" is no owner: give UID:GID as numbers`;
}

export function parseAddress(text: string): NetworkAddress {
  if (text.startsWith("unix:") || isAbsolute(text))
    return parseSocketPath(text.replace(/^unix:/, ""));
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]*)):(\d{1,5})$/.exec(text);
  const port = match === null ? -1 : Number(match[3]);
  if (match === null || port > 65_535) {
    throw addressError(`"${printable(text)}" is neither an absolute socket path nor ADDRESS:PORT`);
  }
  return { kind: "tcp", host: match[1] ?? (match[2] === "" ? "127.0.0.1" : match[2]!), port };
}

export function formatAddress(address: NetworkAddress): string {
  if (address.kind === "unix") return address.path;
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}

/** The NBD URI of an export, as libnbd, qemu and fio understand it; under TLS as libnbd does. */
export function nbdUri(address: NetworkAddress, exportName: string, tls = false): string {
  const name = uriPart(exportName);
  if (address.kind === "unix") {
    const socket = address.path.split("/").map(uriPart).join("/");
    return `nbd+unix:///${name}?socket=${socket}`;
  }
  return `${tls ? "nbds" : "nbd"}://${formatAddress(address)}/${name}`;
}

/** Also without what URIs may hold and shells take for something else. */
function uriPart(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (sign) => {
    return `%${sign.charCodeAt(0).toString(16).toUpperCase()}`;
  });
}

/** The text without control characters and not longer than a line, for messages. */
export function printable(text: string): string {
  const clean = text.replace(/[^\x20-\x7e]/g, "?");
  return clean.length > 80 ? `${clean.slice(0, 77)}...` : clean;
}

function parseSocketPath(path: string): NetworkAddress {
  if (!isAbsolute(path)) throw addressError(`the socket path "${printable(path)}" is not absolute`);
  const lengthBytes = Buffer.byteLength(path);
  if (lengthBytes > SOCKET_PATH_BYTES_MAX) {
    throw addressError(
      `the socket path has ${lengthBytes} bytes, the most is ${SOCKET_PATH_BYTES_MAX}: ${printable(path)}`,
    );
  }
  return { kind: "unix", path };
}

function addressError(message: string): CodedError {
  return new CodedError({
    code: "address-invalid",
    message,
    hint: "Give a socket path such as /run/drystone/demo.sock, or an address such as 127.0.0.1:10809",
  });
}
