/** A call of a host's API from this process, with its refusal as a CodedError. */
import { request } from "node:http";
import { CodedError, errorText } from "../base/index.ts";
import { isRecord } from "./shape.ts";

const CALL_MS_MAX = 70_000;

/** Fails with the code that the host answers, or with `connection-failed`. */
export async function callApi(
  api: string,
  method: "GET" | "POST" | "DELETE",
  path: string,
  body?: object,
  limitMs: number = CALL_MS_MAX,
): Promise<unknown> {
  const { status, text } = await exchange(api, method, path, body, limitMs);
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
  limitMs: number,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const call = request(new URL(path, api), { method, headers, agent: false });
    call.setTimeout(limitMs, () => call.destroy(new Error("no answer in time")));
    call.on("error", (error) => reject(failed(api, error)));
    call.on("response", (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
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
