/** QEMU's control socket: JSON lines, one answer per command, events in between. */
import * as net from "node:net";
import { CodedError, errorText } from "../../base/index.ts";

const ANSWER_MS_MAX = 10_000;
const LINE_LENGTH_MAX = 1 << 20;

export interface QmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: CodedError) => void;
  readonly timer: NodeJS.Timeout;
}

export class QmpClient {
  readonly #socket: net.Socket;
  readonly #onEvent: (event: QmpEvent) => void;
  readonly #waiting: Waiting[] = [];
  readonly closed: Promise<void>;
  #text = "";

  private constructor(socket: net.Socket, onEvent: (event: QmpEvent) => void) {
    this.#socket = socket;
    this.#onEvent = onEvent;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#data(text));
    // The close that follows tells.
    socket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      socket.on("close", () => {
        for (const { reject, timer } of this.#waiting.splice(0)) {
          clearTimeout(timer);
          reject(failed("QEMU has closed its control socket"));
        }
        resolve();
      });
    });
  }

  /** Fails with `vm-unreachable`. */
  static async connect(path: string, onEvent: (event: QmpEvent) => void): Promise<QmpClient> {
    const socket = net.connect({ path });
    socket.unref();
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", (error) => reject(failed(errorText(error))));
    });
    const client = new QmpClient(socket, onEvent);
    await client.command("qmp_capabilities");
    return client;
  }

  /** Fails with `vm-unreachable`, or with `vm-refused` and QEMU's words. */
  command(execute: string, argument?: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (this.#socket.destroyed) return Promise.reject(failed("the control socket is closed"));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        // Answers come in order: without this one the next would be taken for it.
        this.#socket.destroy();
      }, ANSWER_MS_MAX);
      timer.unref();
      this.#waiting.push({ resolve, reject, timer });
      this.#socket.write(`${JSON.stringify({ execute, arguments: argument })}\r\n`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #data(text: string): void {
    this.#text += text;
    const lines = this.#text.split("\n");
    this.#text = lines.pop() ?? "";
    if (this.#text.length > LINE_LENGTH_MAX) this.#socket.destroy();
    for (const line of lines) if (line.trim() !== "") this.#line(line);
  }

  #line(line: string): void {
    const said = parse(line);
    if (said === undefined) {
      this.#socket.destroy();
    } else if (typeof said["event"] === "string") {
      const data = said["data"];
      this.#onEvent({ name: said["event"], data: isObject(data) ? data : {} });
    } else if ("return" in said || "error" in said) {
      this.#answer(said);
    }
  }

  #answer(said: Readonly<Record<string, unknown>>): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return;
    clearTimeout(waiting.timer);
    const { error } = said;
    if (error === undefined) waiting.resolve(said["return"]);
    else {
      const message = isObject(error) ? String(error["desc"]) : "unknown";
      waiting.reject(new CodedError({ code: "vm-refused", message: `QEMU refuses: ${message}` }));
    }
  }
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function failed(why: string): CodedError {
  return new CodedError({ code: "vm-unreachable", message: `QEMU cannot be spoken to: ${why}` });
}
