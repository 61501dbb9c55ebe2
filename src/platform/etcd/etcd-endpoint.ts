/** One member of an etcd cluster as its clients reach it: requests and streams over HTTP/1.1. */
import { Buffer } from "node:buffer";
import * as http from "node:http";
import * as https from "node:https";
import { CodedError, errorText } from "../../base/index.ts";
import { EtcdFields, EtcdRefusal, EtcdSilence } from "./etcd-wire.ts";

const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
/** A line of a watch: at most so many bytes. */
const LINE_LENGTH_MAX = 64 * 1024 * 1024;
const SOCKETS_MAX = 64;
/** Idle connections are probed by the kernel, so that one whose other end is gone is noticed. */
const TCP_KEEP_ALIVE_MS = 5000;

/** PEM texts. The system's authorities are trusted if `caPem` is left out. */
export interface EtcdTls {
  readonly caPem?: string;
  readonly certificatePem?: string;
  readonly keyPem?: string;
}

export interface EtcdStream {
  /** Nothing is called afterwards. */
  destroy(): void;
}

export interface EtcdStreamHandler {
  readonly line: (line: string) => void;
  /** No more lines come. Called once. */
  readonly ended: (reason: string) => void;
}

export class EtcdEndpoint {
  /** Without a slash at the end. */
  readonly url: string;
  /** Others are asked first until it has answered again. */
  isSuspect = false;
  /** What went wrong last, for messages. */
  lastFailure: string | undefined;
  /** Called when it becomes suspect: whoever holds a stream goes elsewhere. */
  readonly leavers: Set<() => void> = new Set();
  readonly #isTls: boolean;
  #agent: http.Agent;
  #streamAgent: http.Agent;

  constructor(url: string, tls: EtcdTls = {}) {
    this.url = checkedUrl(url);
    this.#isTls = this.url.startsWith("https:");
    [this.#agent, this.#streamAgent] = this.#agents(tls);
  }

  /** What connections that are made from now on show and believe. */
  setTls(tls: EtcdTls): void {
    // What is under way at the old agent goes on.
    const idle = Object.values(this.#agent.freeSockets).flatMap((sockets) => sockets ?? []);
    for (const socket of idle) socket.destroy();
    [this.#agent, this.#streamAgent] = this.#agents(tls);
  }

  /** One request. Throws `EtcdSilence` or `EtcdRefusal`. */
  async post(
    path: string,
    body: object,
    token: string | undefined,
    timeoutMs: number,
  ): Promise<EtcdFields> {
    const { status, text } = await this.#exchange(path, body, token, timeoutMs);
    const fields = EtcdFields.parse(text);
    // Streaming calls wrap what they answer.
    const answer = fields.has("result") ? fields.child("result") : fields;
    const error = errorOf(answer);
    if (error !== undefined) throw error;
    if (status !== 200) throw new EtcdSilence(`HTTP status ${status}`, true);
    return answer;
  }

  /** A request whose answer has no end, line by line. */
  stream(
    path: string,
    body: object,
    headers: http.OutgoingHttpHeaders,
    handler: EtcdStreamHandler,
  ): EtcdStream {
    const request = this.#request(path, body, headers, this.#streamAgent);
    let isOver = false;
    const end = (reason: string): void => {
      if (isOver) return;
      isOver = true;
      request.destroy();
      handler.ended(reason);
    };
    request.on("error", (error) => end(errorText(error)));
    request.on("response", (response) => {
      let rest = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) if (!isOver && line !== "") handler.line(line);
        if (rest.length > LINE_LENGTH_MAX) end("a line that is too long");
      });
      response.on("error", (error) => end(errorText(error)));
      response.on("close", () => end("the connection was closed"));
    });
    request.on("close", () => end("the connection was closed"));
    return {
      destroy: () => {
        isOver = true;
        request.destroy();
      },
    };
  }

  close(): void {
    this.#agent.destroy();
    this.#streamAgent.destroy();
  }

  /** For requests and for streams. */
  #agents(tls: EtcdTls): readonly [http.Agent, http.Agent] {
    const secrets = secretsOf(tls);
    const common = { keepAlive: true, keepAliveMsecs: TCP_KEEP_ALIVE_MS };
    const make = (options: http.AgentOptions): http.Agent =>
      this.#isTls ? new https.Agent({ ...options, ...secrets }) : new http.Agent(options);
    return [make({ ...common, maxSockets: SOCKETS_MAX }), make({ keepAlive: false })];
  }

  #request(
    path: string,
    body: object,
    headers: http.OutgoingHttpHeaders,
    agent: http.Agent,
  ): http.ClientRequest {
    const bytes = Buffer.from(JSON.stringify(body), "utf8");
    const options = {
      method: "POST",
      agent,
      headers: { ...headers, "content-type": "application/json", "content-length": bytes.length },
    };
    const url = `${this.url}/v3/${path}`;
    const request = this.#isTls ? https.request(url, options) : http.request(url, options);
    request.setNoDelay(true);
    request.setSocketKeepAlive(true, TCP_KEEP_ALIVE_MS);
    request.end(bytes);
    return request;
  }

  #exchange(
    path: string,
    body: object,
    token: string | undefined,
    timeoutMs: number,
  ): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const headers = token === undefined || token === "" ? {} : { authorization: token };
      const request = this.#request(path, body, headers, this.#agent);
      let isSent = false;
      request.on("socket", (socket) => {
        if (request.reusedSocket) isSent = true;
        else socket.once(this.#isTls ? "secureConnect" : "connect", () => (isSent = true));
      });
      const fail = (reason: string): void => {
        clearTimeout(timer);
        reject(new EtcdSilence(reason, isSent));
        request.destroy();
      };
      const timer = setTimeout(
        () => fail(`no answer within ${Math.ceil(timeoutMs)} ms`),
        timeoutMs,
      );
      request.on("error", (error) => fail(errorText(error)));
      request.on("response", (response) => {
        const chunks: Buffer[] = [];
        let sizeBytes = 0;
        response.on("data", (chunk: Buffer) => {
          sizeBytes += chunk.length;
          chunks.push(chunk);
          if (sizeBytes > ANSWER_BYTES_MAX) fail("an answer that is too long");
        });
        response.on("error", (error) => fail(errorText(error)));
        response.on("close", () => fail("the connection was closed in the middle of an answer"));
        response.on("end", () => {
          clearTimeout(timer);
          const text = Buffer.concat(chunks).toString("utf8");
          resolve({ status: response.statusCode ?? 0, text });
        });
      });
    });
  }
}

function secretsOf({ caPem: ca, certificatePem: cert, keyPem: key }: EtcdTls): https.AgentOptions {
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
}

/** The error that an answer is, if it is one. */
export function errorOf(answer: EtcdFields): EtcdRefusal | undefined {
  if (!answer.has("error")) return undefined;
  const details = answer.has("code") ? answer : answer.child("error");
  const code = details.integer(details.has("code") ? "code" : "grpc_code");
  return new EtcdRefusal(code, details.text("message"));
}

function checkedUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isHttp = url?.protocol === "http:" || url?.protocol === "https:";
  if (url !== undefined && isHttp && url.hostname !== "" && /^\/?$/.test(url.pathname))
    return url.origin;
  throw new CodedError({
    code: "address-invalid",
    message: `${text} is not the address of an etcd member`,
    hint: "give http://HOST:PORT or https://HOST:PORT",
    details: { address: text },
  });
}
