/**
 * Byte streams between processes, over TCP or unix sockets. What a message is, is the business of
 * the floors above.
 */
export interface Network {
  /** Fails with code `address-in-use`, `address-invalid` or `permission-denied`. */
  listen(address: NetworkAddress, accept: (stream: ByteStream) => void): Promise<Listener>;
  /**
   * Fails with `connection-refused` if the machine there says that nobody listens, and nothing else
   * counts as that: `connection-timeout` without any answer, `connection-failed` without a way to
   * it, `certificate-refused` if it does not prove to belong to the cluster, `address-invalid`.
   */
  connect(address: NetworkAddress): Promise<ByteStream>;
}

export type NetworkAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

export interface Listener {
  /** With the port that was chosen where 0 was asked for. */
  readonly address: NetworkAddress;
  /** No new streams; those that exist live on. */
  close(): Promise<void>;
}

export interface StreamPeer {
  readonly clusterId: string;
  readonly hostId: string;
}

/**
 * One connection. `start` is called once, by whoever owns the stream; until then nothing is
 * delivered. After `closed` no more callbacks come.
 */
export interface ByteStream {
  /** The other end, for logs. */
  readonly remote: string;
  /** Who the other end has proven to be, on a network that asks for proof. */
  readonly peer?: StreamPeer | undefined;
  /**
   * Puts the stream under TLS, as its server; only streams of listeners that can have it. The
   * stream is paused, and nothing is queued. What arrives from here on is the client's handshake;
   * after it `secured` is called, or `closed`.
   */
  secure?(): void;
  start(handler: ByteStreamHandler): void;
  /**
   * Queues bytes, which must not change until `written(token)` was called. Everything written in
   * one turn leaves as one batch. Returns false when the queue is above its high-water mark: wait
   * for `drained`.
   */
  write(bytes: Uint8Array, token: number): boolean;
  /** Stops and restarts delivery: backpressure towards the other end. */
  pause(): void;
  resume(): void;
  /** Closes after everything queued was sent. */
  end(): void;
  /** Closes at once. */
  destroy(): void;
}

export interface ByteStreamHandler {
  /**
   * `bytes` is valid during the call only: the buffer is used again. It is a plain Uint8Array, so
   * that its `slice` is a copy.
   */
  data(bytes: Uint8Array): void;
  /**
   * These bytes were handed to the operating system, or will never be. Tokens below 0 are not
   * reported.
   */
  written(token: number): void;
  drained(): void;
  /** The other end sends nothing more. */
  ended(): void;
  closed(reason: string | undefined): void;
  /** After `secure`: who the client has proven to be. The stream is delivered again. */
  secured?(client: string): void;
}
