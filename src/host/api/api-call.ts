/** A call of a host's API from this process, with its refusal as a CodedError. */
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { RequestOptions } from "node:https";
import { CodedError, errorText } from "../../base/index.ts";
import { isRecord } from "./shape.ts";

const CALL_MS_MAX = 70_000;
/** Of an answer, which is kept whole: some times what the largest clusters have to list. */
const ANSWER_MIB_MAX = 32;

export interface ApiCallOptions {
  /** How long the host may take to answer. Default: 70 s. */
  readonly limitMs?: number;
  /** What a host is shown that asks for a certificate. */
  readonly tls?: RequestOptions;
}

/** Fails with the code that the host answers, or with `connection-failed`. */
export async function callApi(
  api: string,
  method: "GET" | "POST" | "DELETE",
  path: string,
  body?: object,
  options: ApiCallOptions = {},
): Promise<unknown> {
  const { status, text } = await exchange(api, method, path, body, options);
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch (error) {
    throw failed(api, error);
  }
  if (status < 400) return answer;
  const fault = isRecord(answer) ? answer["error"] : undefined;
  if (!isRecord(fault)) throw failed(api, new Error(`it answered with status ${status}`));
  const { code, message, hint } = fault;
  throw new CodedError({
    code: typeof code === "string" ? code : "internal",
    message: typeof message === "string" ? message : `status ${status}`,
    ...(typeof hint === "string" ? { hint } : {}),
  });
}

function exchange(
  api: string,
  method: string,
  path: string,
  body: object | undefined,
  { limitMs = CALL_MS_MAX, tls = {} }: ApiCallOptions,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const url = new URL(path, api);
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const call = send(url, { ...tls, method, headers, agent: false });
    // Connecting counts, which the socket's own timeout does not see.
    const timer = setTimeout(() => call.destroy(new Error("no answer in time")), limitMs);
    call.on("close", () => clearTimeout(timer));
    call.on("error", (error) => reject(failed(api, error)));
    call.on("response", (response) => {
      const pieces: Buffer[] = [];
      let leftBytes = ANSWER_MIB_MAX << 20;
      response.on("data", (piece: Buffer) => {
        leftBytes -= piece.length;
        if (leftBytes >= 0) pieces.push(piece);
        else response.destroy(new Error(`its answer is longer than ${ANSWER_MIB_MAX} MiB`));
      });
      response.on("error", (error) => reject(failed(api, error)));
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 500, text: Buffer.concat(pieces).toString() });
      });
    });
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function failed(api: string, error: unknown): CodedError {
  return new CodedError({
    code: "connection-failed",
    message: `the host at ${api} cannot be asked: ${errorText(error)}`,
    hint: "Check that it runs",
  });
}
