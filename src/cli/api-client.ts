/** Asks a running host: one request per operation, made from the operation's row. */
import { request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { assertDefined, CodedError } from "../base/index.ts";
import type { Fault } from "../base/index.ts";
import { apiAddress } from "./api-address.ts";
import type { ApiAddress } from "./api-address.ts";
import { allUnheard, cutShort, unanswered, unheard, Unheard } from "./no-answer.ts";
import { operationRow } from "../host/index.ts";
import type { OperationName, ResponseOf } from "../host/index.ts";

/** Of a machine without power nothing comes back at all. */
const CONNECT_MS_MAX = 5000;
/** What only looks is answered at once by a host that works. */
const LOOK_MS_MAX = 60_000;
/** Long enough for a scrub of a large device to finish. */
const ANSWER_MS_MAX = 30 * 60_000;
/** Tells of a machine that lost its power while it was listened to. */
const KEEP_ALIVE_MS = 30_000;
const ANSWER_BYTES_MAX = 64 * 2 ** 20;

export class ApiClient {
  /** The one that answered last comes first. */
  readonly #addresses: ApiAddress[];

  /**
   * `urls`: one, or several after commas, of which the first one is asked where a host runs. Fails
   * with `usage` if one of them is none.
   */
  constructor(urls: string) {
    this.#addresses = urls.split(",").map((url) => apiAddress(url.trim()));
  }

  async call<N extends OperationName>(
    name: N,
    request: Readonly<Record<string, unknown>>,
  ): Promise<ResponseOf<N>> {
    const response = await this.#send(name, request);
    const text = await this.#readAll(response);
    const value = parseJson(text, this.#first.text);
    // The host answers by the same row.
    if (response.statusCode === 200) return value as ResponseOf<N>;
    throw new CodedError(
      faultOf(value) ?? { code: "bug", message: `the host answered ${text.slice(0, 200)}` },
    );
  }

  /** What is at a path that is no operation's, as text. */
  async text(path: string): Promise<string> {
    const address = this.#first;
    const response = await ask(address, new URL(path, address.base), "GET");
    const text = await this.#readAll(response);
    if (response.statusCode === 200) return text;
    const fault = faultOf(parseJson(text, address.text));
    throw new CodedError(fault ?? { code: "bug", message: `the host answered ${text}` });
  }

  /**
   * Calls `onEvent` with the JSON text of each server-sent event until the host ends the stream.
   */
  async follow(
    request: Readonly<Record<string, unknown>>,
    onEvent: (text: string) => void,
  ): Promise<void> {
    const response = await this.#send("events", { ...request, follow: true });
    if (response.statusCode !== 200) {
      const fault = faultOf(parseJson(await this.#readAll(response), this.#first.text));
      throw new CodedError(fault ?? { code: "bug", message: "the host refused without a reason" });
    }
    response.setEncoding("utf8");
    let rest = "";
    for await (const chunk of this.#chunksOf<string>(response)) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.startsWith("data: ")) onEvent(line.slice(6));
    }
  }

  async #readAll(response: IncomingMessage): Promise<string> {
    const chunks: Buffer[] = [];
    let lengthBytes = 0;
    for await (const chunk of this.#chunksOf<Buffer>(response)) {
      lengthBytes += chunk.length;
      if (lengthBytes > ANSWER_BYTES_MAX)
        throw new CodedError({ code: "bug", message: "the answer has no end" });
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
  }

  async *#chunksOf<T>(response: IncomingMessage): AsyncIterable<T> {
    try {
      yield* response as AsyncIterable<T>;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      throw cutShort(this.#first, error);
    }
  }

  get #first(): ApiAddress {
    return assertDefined(this.#addresses[0], "there is an address");
  }

  async #send(
    name: OperationName,
    request: Readonly<Record<string, unknown>>,
  ): Promise<IncomingMessage> {
    const refused: Unheard[] = [];
    const addresses = [...this.#addresses];
    for (const address of addresses) {
      try {
        const response = await this.#sendTo(address, name, request);
        this.#addresses.splice(this.#addresses.indexOf(address), 1);
        this.#addresses.unshift(address);
        return response;
      } catch (error) {
        if (!(error instanceof Unheard)) throw error;
        refused.push(error);
      }
    }
    throw allUnheard(refused, addresses);
  }

  #sendTo(
    address: ApiAddress,
    name: OperationName,
    request: Readonly<Record<string, unknown>>,
  ): Promise<IncomingMessage> {
    const row = operationRow(name);
    const rest: Record<string, unknown> = { ...request };
    const path = row.path.replace(/:(\w+)/g, (_match, field: string) => {
      const value = String(rest[field]);
      delete rest[field];
      return encodeURIComponent(value);
    });
    const url = new URL(path, address.base);
    const hasBody = row.method === "POST";
    if (!hasBody)
      for (const [key, value] of Object.entries(rest)) url.searchParams.set(key, String(value));
    return ask(address, url, row.method, hasBody ? JSON.stringify(rest) : undefined);
  }
}

function ask(
  address: ApiAddress,
  url: URL,
  method: string,
  body?: string,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { isTls, options } = address;
    const isChange = method !== "GET";
    const send = isTls ? httpsRequest : httpRequest;
    const outgoing = send(url, { ...options, method });
    let isConnected = false;
    const limit = (ms: number, what: string): NodeJS.Timeout =>
      setTimeout(() => outgoing.destroy(new Error(`${what} within ${ms / 1000} s`)), ms);
    let timer = limit(CONNECT_MS_MAX, "it has not taken a connection");
    const connected = (): void => {
      isConnected = true;
      clearTimeout(timer);
      timer = limit(isChange ? ANSWER_MS_MAX : LOOK_MS_MAX, "it has not answered");
    };
    outgoing.on("socket", (socket) => {
      if (socket.connecting) socket.on(isTls ? "secureConnect" : "connect", connected);
      else connected();
    });
    outgoing.setSocketKeepAlive(true, KEEP_ALIVE_MS);
    outgoing.on("response", (response) => {
      clearTimeout(timer);
      resolve(response);
    });
    outgoing.on("error", (error) => {
      clearTimeout(timer);
      reject(isConnected ? unanswered(address, error, isChange) : unheard(address, error));
    });
    if (body !== undefined) outgoing.setHeader("content-type", "application/json");
    outgoing.end(body);
  });
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CodedError(
      {
        code: "connection-failed",
        message: `what answers at ${where} is not a Drystone host`,
        hint: "Check --api and DRYSTONE_API",
      },
      { cause: error },
    );
  }
}

function faultOf(value: unknown): Fault | undefined {
  if (typeof value !== "object" || value === null || !("error" in value)) return undefined;
  const { error } = value;
  if (typeof error !== "object" || error === null) return undefined;
  if (!("code" in error) || typeof error.code !== "string") return undefined;
  if (!("message" in error) || typeof error.message !== "string") return undefined;
  const hint = "hint" in error && typeof error.hint === "string" ? { hint: error.hint } : {};
  return { code: error.code, message: error.message, ...hint };
}
