/** `drystone vm console NAME --follow`: over every start on another host. */
import { setTimeout as sleep } from "node:timers/promises";
import { CodedError } from "../base/index.ts";
import type { VmConsoleView } from "../host/index.ts";
import type { ApiClient } from "./api-client.ts";
import type { Output } from "./output.ts";

const ASK_MS = 300;
/** The machine does not run, or its host is not there: it may yet be started elsewhere. */
const WAITED_FOR: ReadonlySet<string> = new Set([
  "vm-runs-not",
  "connection-failed",
  "directory-unavailable",
]);

/**
 * Prints until the process is ended. Fails if the machine is unknown, or the asked host is gone.
 */
export async function followConsole(
  client: ApiClient,
  request: Readonly<Record<string, unknown>>,
  output: Output,
): Promise<never> {
  const { name, from: first } = request;
  let from = first;
  let epoch: number | undefined;
  let waitsFor: string | undefined;
  for (;;) {
    try {
      const part = await client.call("vm.console", {
        name,
        ...(from === undefined ? {} : { from }),
      });
      waitsFor = undefined;
      if (epoch !== undefined && part.epoch !== epoch) {
        output.message(`drystone: ${part.name} runs on ${part.host} now\n`);
        from = 0;
        epoch = part.epoch;
        continue;
      }
      epoch = part.epoch;
      from = part.next;
      print(part, output);
      if (part.text !== "") continue;
    } catch (error) {
      // The host that is asked for it must be there, whichever one runs the machine.
      if (!(error instanceof CodedError) || !WAITED_FOR.has(error.code) || epoch === undefined)
        throw error;
      if (waitsFor !== error.code) output.message(`drystone: ${error.message}; waiting\n`);
      waitsFor = error.code;
    }
    await sleep(ASK_MS);
  }
}

function print(part: VmConsoleView, output: Output): void {
  if (part.text === "") return;
  output.data(output.isJson ? `${JSON.stringify(part)}\n` : part.text);
}
