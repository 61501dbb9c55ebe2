/** Asks the host that served this page, and nobody else. */
import { callOperation, reach } from "../../src/host/api-routes.ts";
import type { EventView, OperationName, RequestOf, ResponseOf } from "../../src/host/api-routes.ts";

export { ApiRefusal as Refusal } from "../../src/host/api-routes.ts";

export function call<N extends OperationName>(
  name: N,
  request: RequestOf<N>,
): Promise<ResponseOf<N>> {
  return callOperation("", name, request);
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
