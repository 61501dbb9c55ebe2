/** Asks the host that served this page, and nobody else. */
import type { ApiRefusal } from "../../src/host/api/api-routes.ts";
import { callOperation, reach } from "../../src/host/api/api-routes.ts";
import type {
  EventView,
  OperationName,
  RequestOf,
  ResponseOf,
} from "../../src/host/api/api-routes.ts";

export { ApiRefusal as Refusal } from "../../src/host/api/api-routes.ts";

/** Kept for this tab alone, and gone with it. */
const TOKEN_KEY = "drystone-token";
const ACCESS_CODES = ["certificate-required", "access-denied", "access-expired"];

/** Whether a token would help. */
export function wantsToken({ code }: ApiRefusal): boolean {
  return ACCESS_CODES.includes(code);
}

export function setToken(token: string | undefined): void {
  if (token === undefined) window.sessionStorage.removeItem(TOKEN_KEY);
  else window.sessionStorage.setItem(TOKEN_KEY, token);
}

export function hasToken(): boolean {
  return window.sessionStorage.getItem(TOKEN_KEY) !== null;
}

function shown(): Readonly<Record<string, string>> {
  const token = window.sessionStorage.getItem(TOKEN_KEY);
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

export function call<N extends OperationName>(
  name: N,
  request: RequestOf<N>,
): Promise<ResponseOf<N>> {
  return callOperation("", name, request, { headers: shown() });
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
  const response = await reach(`/v1/events?follow=true&after=${after}`, {
    signal,
    headers: shown(),
  });
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
