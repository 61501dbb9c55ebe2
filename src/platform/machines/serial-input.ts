/**
 * What is typed on one machine's serial console. The connection is kept: QEMU drops what it has not
 * read when the other end goes away, and reads no faster than the guest does.
 */
import * as net from "node:net";
import { CodedError, errorText } from "../../base/index.ts";

const TAKEN_MS_MAX = 2000;

export class SerialInput {
  readonly #vmId: string;
  readonly #path: string;
  #socket: net.Socket | undefined;
  /** One after the other: QEMU listens to one connection at a time. */
  #turn: Promise<void> = Promise.resolve();

  /** `path` is the socket of the machine's console. */
  constructor(vmId: string, path: string) {
    this.#vmId = vmId;
    this.#path = path;
  }

  /** Resolves when it is QEMU's. Fails with `vm-unreachable`. */
  async type(text: string): Promise<void> {
    const typed = this.#turn.then(() => this.#type(text));
    this.#turn = typed.catch(() => {});
    await typed;
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  async #type(text: string): Promise<void> {
    const socket = this.#socket?.writable === true ? this.#socket : await this.#connect();
    this.#socket = socket;
    const isTaken = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), TAKEN_MS_MAX);
      socket.write(text, (error) => {
        clearTimeout(timer);
        resolve(error === undefined || error === null);
      });
    });
    if (isTaken) return;
    this.close();
    throw new CodedError({
      code: "vm-unreachable",
      message: `the guest of ${this.#vmId} does not take what is typed`,
      hint: `drystone vm console ${this.#vmId} shows what it does`,
    });
  }

  async #connect(): Promise<net.Socket> {
    const socket = net.connect({ path: this.#path });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", (error) => {
        const message = `nothing can be typed on ${this.#vmId}: ${errorText(error)}`;
        const hint = "If an earlier version has started it, stop it and start it again";
        reject(new CodedError({ code: "vm-unreachable", message, hint }));
      });
    });
    socket.on("error", () => {});
    socket.unref();
    // What the machine prints is in its file as well.
    socket.resume();
    return socket;
  }
}
