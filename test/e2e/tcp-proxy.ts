/** A proxy between a client and a server that misbehaves as a network does, on command. */
import { connect, createServer } from "node:net";
import type { Server, Socket } from "node:net";

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  readonly heldRequests: Buffer[];
  readonly heldAnswers: Buffer[];
}

export class TcpProxy {
  /** Neither direction is forwarded; connections stay open, and new ones are accepted. */
  isHung = false;
  /** What clients send is kept back until `release`, even if they have gone by then. */
  holdsRequests = false;
  /** Asked for each piece of an answer; true cuts the connection instead of handing it on. */
  cutsAnswer: (() => boolean) | undefined;
  /** Pieces of answers that had nobody to go to: requests that arrived late. */
  orphanedAnswerCount = 0;
  onOrphanedAnswer: (() => void) | undefined;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #targetPort: number;

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async start(targetUrl: string): Promise<TcpProxy> {
    const proxy = new TcpProxy(Number(new URL(targetUrl).port));
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy is closed");
    return `http://127.0.0.1:${address.port}`;
  }

  get heldRequestCount(): number {
    let count = 0;
    for (const { heldRequests } of this.#pairs) count += heldRequests.length;
    return count;
  }

  /** Forwards what was kept back and goes on forwarding. */
  release(): void {
    this.isHung = false;
    this.holdsRequests = false;
    for (const { client, server, heldRequests, heldAnswers } of this.#pairs) {
      for (const bytes of heldRequests.splice(0)) server.write(bytes);
      for (const bytes of heldAnswers.splice(0)) client.write(bytes);
    }
  }

  /** Cuts all connections. */
  cut(): void {
    for (const pair of [...this.#pairs]) this.#drop(pair);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    await closed;
  }

  #accept(client: Socket): void {
    const server = connect({ host: "127.0.0.1", port: this.#targetPort });
    const pair: Pair = { client, server, heldRequests: [], heldAnswers: [] };
    this.#pairs.add(pair);
    client.on("data", (bytes: Buffer) => {
      if (this.isHung || this.holdsRequests) pair.heldRequests.push(bytes);
      else server.write(bytes);
    });
    server.on("data", (bytes: Buffer) => {
      if (client.destroyed) {
        this.orphanedAnswerCount++;
        this.onOrphanedAnswer?.();
      } else if (this.isHung) pair.heldAnswers.push(bytes);
      else if (this.cutsAnswer?.() === true) this.#drop(pair);
      else client.write(bytes);
    });
    // Errors come before `close`, which is what counts.
    client.on("error", () => undefined);
    server.on("error", () => undefined);
    client.on("close", () => {
      if (pair.heldRequests.length === 0) this.#drop(pair);
    });
    server.on("close", () => this.#drop(pair));
  }

  #drop(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.client.destroy();
    pair.server.destroy();
  }
}
