/** Asks the host that served this page, and nobody else. */
import type { EventView, OperationTypes } from "../../src/host/index.ts";

type Operations = OperationTypes;

/** A refusal of the host: its code, what happened, and the next step. */
export class Refusal extends Error {
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: string, message: string, hint?: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

const routes = {
  status: ["GET", "/v1/status"],
  "network.show": ["GET", "/v1/networks"],
  stats: ["GET", "/v1/stats"],
  events: ["GET", "/v1/events"],
  "volume.list": ["GET", "/v1/volumes"],
  "volume.create": ["POST", "/v1/volumes"],
  "volume.attach": ["POST", "/v1/volumes/:name/attach"],
  "volume.detach": ["POST", "/v1/volumes/:name/detach"],
  "volume.delete": ["DELETE", "/v1/volumes/:name"],
  "vm.list": ["GET", "/v1/vms"],
  "vm.start": ["POST", "/v1/vms/:name/start"],
  "vm.stop": ["POST", "/v1/vms/:name/stop"],
} as const;

export type Route = keyof typeof routes;

export async function call<N extends Route>(
  name: N,
  request: Operations[N]["request"],
): Promise<Operations[N]["response"]> {
  const [method, pattern] = routes[name];
  const rest: Record<string, unknown> = { ...request };
  const path = pattern.replace(/:(\w+)/g, (_match, field: string) => {
    const value = String(rest[field]);
    delete rest[field];
    return encodeURIComponent(value);
  });
  const query = new URLSearchParams();
  if (method === "GET") for (const [key, value] of Object.entries(rest)) query.set(key, `${value}`);
  const init: RequestInit =
    method === "POST"
      ? { method, headers: { "content-type": "application/json" }, body: JSON.stringify(rest) }
      : { method };
  const response = await reach(query.size > 0 ? `${path}?${query}` : path, init);
  return (await response.json()) as Operations[N]["response"];
}

/**
 * Calls `onEvent` for each event after `after`; resolves when the host ends the stream. Fails as
 * `call`, with AbortError once `signal` says so.
 */
export async function follow(
  after: number,
  onEvent: (event: EventView) => void,
  onOpen: () => void,
  signal: AbortSignal,
): Promise<void> {
  const response = await reach(`/v1/events?follow=true&after=${after}`, { signal });
  onOpen();
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (reader === undefined) return;
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines)
      if (line.startsWith("data: ")) onEvent(JSON.parse(line.slice(6)) as EventView);
  }
}

async function reach(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, cache: "no-store", redirect: "error" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refusal("connection-failed", "This host does not answer.", "It may be stopped.");
  }
  if (response.ok) return response;
  const answer = (await response.json().catch(() => ({}))) as {
    readonly error?: { readonly code?: string; readonly message?: string; readonly hint?: string };
  };
  const { code, message, hint } = answer.error ?? {};
  throw new Refusal(code ?? "internal", message ?? `status ${response.status}`, hint);
}
