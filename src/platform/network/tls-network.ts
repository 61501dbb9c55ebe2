/**
 * Byte streams between the hosts of one cluster: TCP under TLS 1.3, where both ends show a
 * certificate that the cluster's authority has signed for a host. Whoever does not is refused
 * before a byte of theirs is looked at, and the log says why. Who the other end is stands in the
 * stream's `peer`; its address proves nothing.
 *
 * Unix sockets stay within the machine and are guarded by their mode, as in `StreamNetwork`.
 */
import { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { createSecureContext, createServer, connect as connectTls } from "node:tls";
import type { SecureContext, Server, TLSSocket } from "node:tls";
import { CodedError, errorText } from "../../base/index.ts";
import type { ByteStream, Listener, Network } from "../../ports/index.ts";
import type { NetworkAddress, StreamPeer } from "../../ports/index.ts";
import { identityOf } from "./certificate.ts";
import { adoptAccepted, SocketStream } from "./socket-stream.ts";
import { addressText, CONNECT_TIMEOUT_MS, listenForSockets } from "./stream-network.ts";
import { openSocket, StreamNetwork } from "./stream-network.ts";
import type { StreamNetworkOptions } from "./stream-network.ts";
import { systemErrorCode } from "../sys.ts";
import type { TlsCredentials, TlsTrust } from "./tls-trust.ts";

const HANDSHAKE_TIMEOUT_MS = 5000;
/** Between the hosts whose connections are made anew: enough to be linked again. */
const CUT_INTERVAL_MS = 1000;
/** All are safe; the first one costs least. */
const CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

export interface TlsNetworkOptions extends StreamNetworkOptions {
  /** Others are refused, whoever signed for them. */
  readonly clusterId: string;
  readonly trust: TlsTrust;
}

export class TlsNetwork implements Network {
  readonly #options: TlsNetworkOptions;
  #context: SecureContext;
  readonly #plain: StreamNetwork;
  readonly #servers = new Set<Server>();
  /** Whose other end has proven who it is. */
  readonly #proven = new Map<TLSSocket, Proven>();

  constructor(options: TlsNetworkOptions) {
    this.#options = options;
    this.#plain = new StreamNetwork(options);
    const { trust } = options;
    this.#context = tlsContext(trust.credentials);
    trust.onChange(() => this.#trustChanged());
  }

  async listen(address: NetworkAddress, accept: (stream: ByteStream) => void): Promise<Listener> {
    if (address.kind === "unix") return await this.#plain.listen(address, accept);
    const { log } = this.#options;
    const server = this.#server(address, accept);
    // A listener that closes does not wait for its streams.
    const take = (socket: Socket): void => {
      const adopted = adoptAccepted(socket, {});
      // Of a client that ends its side within the handshake nothing can come any more.
      adopted.allowHalfOpen = false;
      server.emit("connection", adopted);
    };
    const listener = await listenForSockets(address, take, log);
    this.#servers.add(server);
    return {
      address: listener.address,
      close: async () => {
        this.#servers.delete(server);
        await listener.close();
      },
    };
  }

  async connect(address: NetworkAddress): Promise<ByteStream> {
    if (address.kind === "unix") return await this.#plain.connect(address);
    const timeoutMs = this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
    const raw = await openSocket(address, timeoutMs, {});
    const socket = connectTls({
      socket: raw,
      secureContext: this.#context,
      checkServerIdentity: (_name, { raw: der }) => {
        const reason = this.#stranger(new X509Certificate(der));
        return reason === undefined ? undefined : new StrangerError(reason);
      },
    });
    try {
      await secured(socket, timeoutMs);
      return new SocketStream(socket, addressText(address), this.#peerOf(socket));
    } catch (error) {
      socket.destroy();
      raw.destroy();
      throw handshakeFault(address, error);
    }
  }

  #server(address: NetworkAddress, accept: (stream: ByteStream) => void): Server {
    const server = createServer({
      // Only the context of `SNICallback` can be given ready-made; no name comes from our clients.
      ...contextOptions(this.#options.trust.credentials),
      requestCert: true,
      // OpenSSL judges all the same; it is `#peerOf` that refuses, so that the log can say whom.
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    });
    server.on("secureConnection", (socket) => {
      // From now on either side may end first.
      socket.allowHalfOpen = true;
      try {
        accept(new SocketStream(socket, addressText(address), this.#peerOf(socket)));
      } catch (error) {
        if (!(error instanceof StrangerError)) throw error;
        this.#refused(address, socket, error);
        socket.destroy();
      }
    });
    server.on("tlsClientError", (error, socket) => {
      // Who leaves before saying who it is wants nothing: another host has asked whether anybody
      // is here, or has given up.
      if (systemErrorCode(error) !== "ECONNRESET") this.#refused(address, socket, error);
      // Nobody else does after a handshake that took too long: half open, it would stay for ever.
      socket.destroy();
    });
    return server;
  }

  #refused(address: NetworkAddress, socket: TLSSocket, error: unknown): void {
    const host = socket.remoteAddress;
    // It is not known any more once the socket is closed.
    const remote = host === undefined ? undefined : `${host}:${socket.remotePort ?? 0}`;
    const fields = { address: addressText(address), remote, cause: errorText(error) };
    this.#options.log?.write("warning", "a connection was refused", fields);
  }

  /** Throws unless the certificate is valid, the authority has signed it, and it is a host's. */
  #peerOf(socket: TLSSocket): StreamPeer {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) throw new StrangerError("it shows no certificate");
    const verdict: unknown = socket.authorizationError;
    if (!socket.authorized) throw new StrangerError(`its certificate is refused: ${verdict}`);
    const reason = this.#stranger(certificate);
    const identity = identityOf(certificate);
    if (reason !== undefined || identity === undefined) throw new StrangerError(reason);
    this.#proven.set(socket, { hostId: identity.name, certificate });
    socket.once("close", () => this.#proven.delete(socket));
    return { clusterId: identity.clusterId, hostId: identity.name };
  }

  /**
   * New connections are made as things are now. Those with hosts that were removed end, and those
   * that were proven by an authority that is not believed any more: they are made anew, one host
   * after the other, so that no volume loses several copies at once.
   */
  #trustChanged(): void {
    const { trust } = this.#options;
    this.#context = tlsContext(trust.credentials);
    for (const server of this.#servers) server.setSecureContext(contextOptions(trust.credentials));
    const outdated = new Map<string, TLSSocket[]>();
    for (const [socket, { hostId, certificate }] of this.#proven) {
      if (trust.isRevoked(hostId)) socket.destroy();
      else if (!trust.isSigned(certificate))
        outdated.set(hostId, [...(outdated.get(hostId) ?? []), socket]);
    }
    [...outdated.values()].forEach((sockets, index) => {
      const cut = (): void => sockets.forEach((socket) => socket.destroy());
      if (index === 0) cut();
      else setTimeout(cut, index * CUT_INTERVAL_MS).unref();
    });
  }

  /** Why a certificate, which the authority has signed, is not one of this cluster's hosts. */
  #stranger(certificate: X509Certificate): string | undefined {
    const identity = identityOf(certificate);
    const { clusterId } = this.#options;
    if (identity === undefined) return "its certificate does not say whose it is";
    if (identity.clusterId !== clusterId)
      return `its certificate is of cluster ${identity.clusterId}, not of ${clusterId}`;
    if (identity.role !== "host")
      return `its certificate is of the ${identity.role} ${identity.name}`;
    const isRevoked = this.#options.trust.isRevoked(identity.name);
    return isRevoked ? "it was removed from the cluster" : undefined;
  }
}

interface Proven {
  readonly hostId: string;
  readonly certificate: X509Certificate;
}

class StrangerError extends Error {}

interface ContextOptions {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly minVersion: "TLSv1.3";
  readonly ciphers: string;
}

function contextOptions({ caPem, certificatePem, keyPem }: TlsCredentials): ContextOptions {
  return {
    ca: caPem,
    cert: certificatePem,
    key: keyPem,
    minVersion: "TLSv1.3",
    ciphers: CIPHERS,
  };
}

function tlsContext(credentials: TlsCredentials): SecureContext {
  try {
    return createSecureContext(contextOptions(credentials));
  } catch (error) {
    throw new CodedError(
      {
        code: "certificate-invalid",
        message: `the certificates of this host cannot be used: ${errorText(error)}`,
        hint: "Restore the tls folder from a backup, or have the host join again with a new token",
      },
      { cause: error },
    );
  }
}

function secured(socket: TLSSocket, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (error?: Error): void => {
      clearTimeout(timer);
      socket.off("error", finish);
      if (error === undefined) resolve();
      else reject(error);
    };
    const timer = setTimeout(() => finish(new HandshakeTimeout()), timeoutMs);
    socket.on("error", finish);
    socket.once("secureConnect", () => finish());
  });
}

class HandshakeTimeout extends Error {
  readonly code = "ETIMEDOUT";

  constructor() {
    super("no answer in time");
  }
}

/** Never `connection-refused`: somebody has answered. */
function handshakeFault(address: NetworkAddress, error: unknown): CodedError {
  const text = addressText(address);
  const fault = (code: string, message: string, hint: string): CodedError =>
    new CodedError({ code, message, hint, details: { address: text } }, { cause: error });
  const code = systemErrorCode(error) ?? "";
  if (code === "ETIMEDOUT")
    return fault("connection-timeout", `${text} did not answer`, "Check the host and the network");
  const isVerdict = error instanceof StrangerError || /CERT|UNABLE_TO_|SIGNATURE/.test(code);
  if (!isVerdict) {
    const hint = "Check that a host of this cluster listens there";
    return fault("connection-failed", `${text} does not speak TLS: ${errorText(error)}`, hint);
  }
  const hint = "Check the address; a host of another cluster listens there, or a stranger";
  const message = `${text} does not belong to this cluster: ${errorText(error)}`;
  return fault("certificate-refused", message, hint);
}
