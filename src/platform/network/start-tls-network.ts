/**
 * A listener for clients whose streams begin in the clear and are put under TLS 1.3 when the
 * protocol above says so. Each client proves that it is one of a list that the floors above know:
 * by the key of a certificate whose fingerprint is listed, or by a key that both ends share. Who
 * signed a certificate does not count. Sessions are never resumed, so that each connection is
 * judged by the list as it is now.
 *
 * Where the host has no certificate clients prove themselves, and are shown proof, by shared keys
 * alone.
 */
import { constants } from "node:crypto";
import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { createServer } from "node:tls";
import type { Server, TLSSocket } from "node:tls";
import { errorText } from "../../base/index.ts";
import type { ByteStream, ByteStreamHandler, Listener, Log } from "../../ports/index.ts";
import type { NetworkAddress } from "../../ports/index.ts";
import { fingerprintOf } from "./certificate.ts";
import { adoptAccepted, SocketStream } from "./socket-stream.ts";
import { addressText, listenForSockets } from "./stream-network.ts";
import type { TlsCredentials } from "./tls-trust.ts";

const HANDSHAKE_TIMEOUT_MS = 5000;
/** Shared keys are bound to SHA-256: with another digest OpenSSL would pass over them. */
const CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";

/** The clients that there are at the moment. */
export interface ClientProofs {
  /** The key that is shared with the client of this name. */
  keyOf(name: string): Uint8Array | undefined;
  /** Whose certificate this is, by its SHA-256 in hexadecimal digits. */
  nameOf(fingerprint: string): string | undefined;
}

export interface StartTlsOptions {
  /** As they are now; undefined on a host without certificates. */
  readonly credentials: () => TlsCredentials | undefined;
  /** Fails if the clients cannot be known: then nobody is let in. */
  readonly clients: () => Promise<ClientProofs>;
  readonly log?: Log;
}

interface Proven {
  readonly socket: TLSSocket;
  readonly client: string;
}

export class StartTlsNetwork {
  readonly #options: StartTlsOptions;

  constructor(options: StartTlsOptions) {
    this.#options = options;
  }

  /** As `Network.listen`. */
  listen(address: NetworkAddress, accept: (stream: ByteStream) => void): Promise<Listener> {
    const take = (socket: Socket): void => {
      const stream = new SecurableStream(adoptAccepted(socket, {}), addressText(address), (raw) =>
        this.#prove(raw),
      );
      accept(stream);
    };
    return listenForSockets(address, take, this.#options.log);
  }

  async #prove(raw: Socket): Promise<Proven> {
    const remote = `${raw.remoteAddress ?? ""}:${raw.remotePort ?? 0}`;
    try {
      const clients = await this.#options.clients();
      if (raw.destroyed) throw new Error("it has gone");
      return await proven(raw, this.#options.credentials(), clients);
    } catch (error) {
      const fields = { remote, cause: errorText(error) };
      this.#options.log?.write("warning", "an NBD client was refused", fields);
      throw error;
    }
  }
}

/** A server of its own for each connection: certificates and clients are those of this moment. */
function proven(
  raw: Socket,
  credentials: TlsCredentials | undefined,
  clients: ClientProofs,
): Promise<Proven> {
  return new Promise((resolve, reject) => {
    let keyName: string | undefined;
    const server: Server = createServer({
      ...(credentials && { cert: credentials.certificatePem, key: credentials.keyPem }),
      // None: a client with a certificate of any authority is to show it.
      ca: [],
      minVersion: "TLSv1.3",
      ciphers: CIPHERS,
      secureOptions: constants.SSL_OP_NO_TICKET,
      requestCert: true,
      // It is the fingerprint that counts.
      rejectUnauthorized: false,
      allowHalfOpen: true,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      pskCallback: (_socket, identity) => {
        const key = clients.keyOf(identity);
        keyName = key === undefined ? undefined : identity;
        return key ?? null;
      },
    });
    server.once("secureConnection", (socket) => {
      try {
        resolve({ socket, client: clientOf(socket, keyName, clients) });
      } catch (error) {
        socket.destroy();
        reject(error);
      }
    });
    server.once("tlsClientError", reject);
    server.emit("connection", raw);
  });
}

/** Throws unless the client is one of those that are known. */
function clientOf(socket: TLSSocket, keyName: string | undefined, clients: ClientProofs): string {
  const certificate = socket.getPeerX509Certificate();
  if (certificate !== undefined) return certifiedClient(certificate, clients);
  // OpenSSL counts a session by a shared key as resumed; that a key was looked up proves nothing.
  if (keyName !== undefined && socket.authorized && socket.isSessionReused()) return keyName;
  throw new Error("it shows neither a certificate nor a shared key");
}

function certifiedClient(certificate: X509Certificate, clients: ClientProofs): string {
  const name = clients.nameOf(fingerprintOf(certificate));
  if (name === undefined) throw new Error("its certificate is of none of the clients");
  const nowMs = Date.now();
  if (Date.parse(certificate.validTo) < nowMs)
    throw new Error(`its certificate has expired on ${certificate.validTo}`);
  if (Date.parse(certificate.validFrom) > nowMs)
    throw new Error("its certificate is not valid yet");
  return name;
}

/** In the clear, then under TLS: two streams over one socket, one after the other. */
class SecurableStream implements ByteStream {
  readonly remote: string;
  readonly #address: string;
  readonly #prove: (raw: Socket) => Promise<Proven>;
  #stream: SocketStream;
  #handler: ByteStreamHandler | undefined;
  /** While the client proves who it is. */
  #securing: Socket | undefined;
  #isDestroyed = false;

  constructor(socket: Socket, address: string, prove: (raw: Socket) => Promise<Proven>) {
    this.#address = address;
    this.#prove = prove;
    this.#stream = new SocketStream(socket, address, undefined, true);
    this.remote = this.#stream.remote;
  }

  start(handler: ByteStreamHandler): void {
    this.#handler = handler;
    this.#stream.start(handler);
  }

  secure(): void {
    const raw = this.#stream.release();
    this.#securing = raw;
    // Who waits for the outcome is told of it.
    raw.on("error", () => raw.destroy());
    void this.#prove(raw).then(this.#proven, (error: unknown) => {
      this.#securing = undefined;
      this.#isDestroyed = true;
      raw.destroy();
      this.#handler?.closed(errorText(error));
    });
  }

  readonly #proven = ({ socket, client }: Proven): void => {
    this.#securing = undefined;
    this.#stream = new SocketStream(socket, this.#address);
    if (this.#isDestroyed) socket.destroy();
    if (this.#handler === undefined) return;
    this.#stream.start(this.#handler);
    if (!this.#isDestroyed) this.#handler.secured?.(client);
  };

  write(bytes: Uint8Array, token: number): boolean {
    return this.#stream.write(bytes, token);
  }

  pause(): void {
    if (this.#securing === undefined) this.#stream.pause();
  }

  resume(): void {
    if (this.#securing === undefined) this.#stream.resume();
  }

  end(): void {
    if (this.#securing === undefined) this.#stream.end();
    else this.destroy();
  }

  destroy(): void {
    this.#isDestroyed = true;
    if (this.#securing === undefined) this.#stream.destroy();
    else this.#securing.destroy();
  }
}
