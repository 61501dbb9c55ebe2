/**
 * Calls between threads over a message port, both ways, typed by two interfaces.
 *
 * Promises: a CodedError crosses intact; any other failure arrives as an Error with the other
 * side's stack; every call settles: when the other thread is gone (`fail`), all that wait are
 * rejected and later calls are too. Messages arrive in the order they were sent.
 */
import { CodedError, errorText } from "../../base/index.ts";
import type { Fault } from "../../base/index.ts";

/** What one side offers: methods with one argument, of values that structured clone can copy. */
export type RpcMethods<T> = {
  readonly [K in keyof T]: (argument: never) => Promise<unknown>;
};

type Argument<T, K extends keyof T> = T[K] extends (argument: infer A) => Promise<unknown>
  ? A
  : never;
type Result<T, K extends keyof T> = T[K] extends (argument: never) => Promise<infer R> ? R : never;

/** The part of a MessagePort or Worker that is used. */
export interface RpcPort {
  postMessage(message: RpcMessage): void;
  on(event: "message", listener: (message: RpcMessage) => void): unknown;
}

export type RpcMessage =
  | {
      readonly kind: "call";
      readonly id: number;
      readonly method: string;
      readonly argument: unknown;
    }
  | { readonly kind: "result"; readonly id: number; readonly result: unknown }
  | { readonly kind: "fault"; readonly id: number; readonly fault: Fault }
  | { readonly kind: "bug"; readonly id: number; readonly message: string; readonly stack: string };

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class RpcPeer<Local extends object & RpcMethods<Local>, Remote extends RpcMethods<Remote>> {
  readonly #port: RpcPort;
  readonly #local: Local;
  readonly #told: (fault: Fault) => Fault;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #failure: Error | undefined;

  /** `told` makes of a fault on this side what the other side is told. */
  constructor(port: RpcPort, local: Local, told: (fault: Fault) => Fault = (fault) => fault) {
    this.#port = port;
    this.#local = local;
    this.#told = told;
    port.on("message", (message) => this.#receive(message));
  }

  call<K extends keyof Remote & string>(
    method: K,
    argument: Argument<Remote, K>,
  ): Promise<Result<Remote, K>> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve: (value) => resolve(value as Result<Remote, K>), reject });
      this.#port.postMessage({ kind: "call", id, method, argument });
    });
  }

  /** The other side is gone: rejects what waits and everything that comes. */
  fail(error: Error): void {
    this.#failure ??= error;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(error);
  }

  #receive(message: RpcMessage): void {
    if (message.kind === "call") {
      void this.#serve(message.id, message.method, message.argument);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (waiting === undefined) return; // Rejected by `fail` before the answer came.
    if (message.kind === "result") waiting.resolve(message.result);
    else if (message.kind === "fault") waiting.reject(new CodedError(message.fault));
    else waiting.reject(remoteError(message.message, message.stack));
  }

  async #serve(id: number, method: string, argument: unknown): Promise<void> {
    try {
      const result = await this.#invoke(method, argument);
      this.#port.postMessage({ kind: "result", id, result });
    } catch (error) {
      if (error instanceof CodedError) {
        this.#port.postMessage({ kind: "fault", id, fault: this.#told(error.fault) });
        return;
      }
      const stack = error instanceof Error ? (error.stack ?? "") : "";
      this.#port.postMessage({ kind: "bug", id, message: errorText(error), stack });
    }
  }

  async #invoke(method: string, argument: unknown): Promise<unknown> {
    const target: unknown = Reflect.get(this.#local, method);
    if (typeof target !== "function")
      throw new Error(`no method ${method} on this side of the port`);
    const result: unknown = await Reflect.apply(target, this.#local, [argument]);
    return result;
  }
}

function remoteError(message: string, stack: string): Error {
  const error = new Error(message);
  error.stack = stack;
  return error;
}
