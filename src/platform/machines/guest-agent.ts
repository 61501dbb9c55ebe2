/**
 * QEMU's guest agent in one machine, asked from time to time whether it is there. Machines without
 * one never answer, which says nothing; one that has answered and does not any more hangs. So does
 * one that says much more than it is asked for: nothing more is read of it until the next question.
 */
import * as net from "node:net";

const PING_MS = 10_000;
const SILENT_MS = 30_000;
/** Characters between two questions; an answer has a few dozen. */
const SAID_MAX = 64 * 1024;
const PING = `${JSON.stringify({ execute: "guest-ping" })}\n`;

export class GuestAgent {
  readonly #path: string;
  readonly #nowMs: () => number;
  #socket: net.Socket | undefined;
  #text = "";
  #askedMs = -Infinity;
  /** When it answered last; undefined: not since the machine was started or reset. */
  #answeredMs: number | undefined;
  /** The same, before the last question. */
  #answeredBeforeMs: number | undefined;
  /** Characters since the last question. */
  #saidCount = 0;

  /** `path` is the socket of its port. */
  constructor(path: string, nowMs: () => number = () => performance.now()) {
    this.#path = path;
    this.#nowMs = nowMs;
  }

  /** To be called often, while the machine executes: asks now and then, and waits for nothing. */
  isSilent(): boolean {
    const nowMs = this.#nowMs();
    // Who calls too seldom has not asked often enough to know.
    const sinceMs = nowMs - this.#askedMs;
    if (this.#answeredMs !== undefined && sinceMs > SILENT_MS) this.#answeredMs = nowMs;
    if (sinceMs >= PING_MS) this.#ask(nowMs);
    return this.#answeredMs !== undefined && nowMs - this.#answeredMs > SILENT_MS;
  }

  /** The machine stands still: that its agent does not answer says nothing. */
  stands(): void {
    if (this.#answeredMs === undefined) return;
    this.#answeredMs = this.#nowMs();
    this.#answeredBeforeMs = this.#answeredMs;
  }

  /** The machine begins anew, and its agent later. */
  forget(): void {
    this.#answeredMs = undefined;
    this.#answeredBeforeMs = undefined;
    this.#askedMs = -Infinity;
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #ask(nowMs: number): void {
    this.#askedMs = nowMs;
    this.#answeredBeforeMs = this.#answeredMs;
    this.#saidCount = 0;
    const socket = this.#socket ?? this.#connect();
    // A guest that takes nothing is asked nothing more.
    if (socket.writableLength === 0) socket.write(PING);
  }

  #connect(): net.Socket {
    const socket = net.connect({ path: this.#path });
    this.#socket = socket;
    this.#text = "";
    socket.unref();
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      // What it has said before it was cut off may still come.
      if (this.#socket === socket) this.#data(text);
    });
    // The close that follows tells; the next question connects again.
    socket.on("error", () => {});
    socket.on("close", () => {
      if (this.#socket === socket) this.#socket = undefined;
    });
    return socket;
  }

  #data(text: string): void {
    this.#saidCount += text.length;
    if (this.#saidCount > SAID_MAX) {
      this.#answeredMs = this.#answeredBeforeMs;
      this.close();
      return;
    }
    const lines = (this.#text + text).slice(-SAID_MAX).split("\n");
    this.#text = lines.pop() ?? "";
    if (lines.some((line) => isAnswer(line))) this.#answeredMs = this.#nowMs();
  }
}

/** An error is an answer, too: something is there that understands. */
function isAnswer(line: string): boolean {
  try {
    const said: unknown = JSON.parse(line);
    return typeof said === "object" && said !== null && ("return" in said || "error" in said);
  } catch {
    return false;
  }
}
