/** Asks a running host: one request per operation, made from the operation's row. */
import { request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { assertDefined, CodedError, errorText } from "../base/index.ts";
import type { Fault } from "../base/index.ts";
import { apiAddress } from "./api-address.ts";
import type { ApiAddress } from "./api-address.ts";
import { operationRow } from "../host/index.ts";
import type { OperationName, ResponseOf } from "../host/index.ts";

/** Long enough for a scrub of a large device to finish. */
const ANSWER_MS_MAX = 30 * 60_000;
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
    const text = await readAll(response);
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
    const text = await readAll(response);
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
      const fault = faultOf(parseJson(await readAll(response), this.#first.text));
      throw new CodedError(fault ?? { code: "bug", message: "the host refused without a reason" });
    }
    response.setEncoding("utf8");
    let rest = "";
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.startsWith("data: ")) onEvent(line.slice(6));
    }
  }

  get #first(): ApiAddress {
    return assertDefined(this.#addresses[0], "there is an address");
  }

  async #send(
    name: OperationName,
    request: Readonly<Record<string, unknown>>,
  ): Promise<IncomingMessage> {
    const refused: CodedError[] = [];
    for (const address of [...this.#addresses]) {
      try {
        const response = await this.#sendTo(address, name, request);
        this.#addresses.splice(this.#addresses.indexOf(address), 1);
        this.#addresses.unshift(address);
        return response;
      } catch (error) {
        // Nobody has heard it: another host may be asked.
        if (!(error instanceof CodedError) || error.code !== "connection-refused") throw error;
        refused.push(error);
      }
    }
    throw assertDefined(refused[0], "every address was tried");
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
    const send = isTls ? httpsRequest : httpRequest;
    const outgoing = send(url, { ...options, method, timeout: ANSWER_MS_MAX }, resolve);
    outgoing.on("timeout", () => outgoing.destroy(new Error("no answer in time")));
    outgoing.on("error", (error) => reject(unreachable(address, error)));
    if (body !== undefined) outgoing.setHeader("content-type", "application/json");
    outgoing.end(body);
  });
}

function unreachable(address: ApiAddress, error: Error): CodedError {
  const isRefused = "code" in error && (error.code === "ECONNREFUSED" || error.code === "ENOENT");
  return new CodedError(
    {
      code: isRefused ? "connection-refused" : "connection-failed",
      message: isRefused
        ? `no host is running at ${address.text}`
        : `the host at ${address.text} cannot be asked: ${errorText(error)}`,
      hint: "Start one with `drystone dev` or `drystone host run --config FILE`, or give its address with --api URL",
    },
    { cause: error },
  );
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let lengthBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    lengthBytes += chunk.length;
    if (lengthBytes > ANSWER_BYTES_MAX)
      throw new CodedError({ code: "bug", message: "the answer has no end" });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
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
