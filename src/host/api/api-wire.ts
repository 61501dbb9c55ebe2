/** Bodies of requests as values, and answers as bytes. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { CodedError, errorText } from "../../base/index.ts";
import type { Fault } from "../../base/index.ts";
import { GUARD_HEADERS } from "../dashboard-files.ts";
import { httpStatusOf } from "./error-codes.ts";
import { isRecord } from "./shape.ts";

const BODY_BYTES_MAX = 64 * 1024;

/** Fails with `content-type-unknown`, `request-too-large` or `request-invalid`. */
export async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const type = request.headers["content-type"];
  // A page of another origin cannot send JSON without being asked whether it may.
  if (type !== undefined && !/^application\/json(?:;|$)/i.test(type))
    throw new CodedError({
      code: "content-type-unknown",
      message: `the body is said to be ${type.slice(0, 80)}`,
      hint: "Send JSON, with content-type: application/json",
    });
  const body = await bytesOf(request);
  if (body.length === 0) return {};
  try {
    const value: unknown = JSON.parse(body.toString("utf8"));
    if (isRecord(value)) return value;
  } catch (error) {
    const message = `the body is not JSON: ${errorText(error)}`;
    throw new CodedError({ code: "request-invalid", message }, { cause: error });
  }
  throw new CodedError({ code: "request-invalid", message: "the body is not a JSON object" });
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let lengthBytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      lengthBytes += chunk.length;
      if (lengthBytes > BODY_BYTES_MAX) {
        const message = `the body exceeds ${BODY_BYTES_MAX} bytes`;
        throw new CodedError({ code: "request-too-large", message, hint: "Send less" });
      }
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof CodedError) throw error;
    // The client has gone, or what it sent is no body.
    const message = `the body did not arrive: ${errorText(error)}`;
    throw new CodedError({ code: "request-invalid", message }, { cause: error });
  }
  return Buffer.concat(chunks);
}

/** For load balancers and the like: 503 with the reason, if there is one. */
export function sendReason(response: ServerResponse, reason: string | undefined): void {
  const status = reason === undefined ? 200 : 503;
  response.writeHead(status, { ...GUARD_HEADERS, "content-type": "text/plain" });
  response.end(`${reason ?? "ok"}\n`);
}

export function sendFault(response: ServerResponse, fault: Fault): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (fault.code === "request-too-large") response.setHeader("connection", "close");
  sendJson(response, httpStatusOf(fault.code), { error: fault });
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const text = `${JSON.stringify(value)}\n`;
  response.writeHead(status, {
    ...GUARD_HEADERS,
    "content-type": "application/json",
    "cache-control": "no-store",
  });
  response.end(text);
}
