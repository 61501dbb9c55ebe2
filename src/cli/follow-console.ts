/**
 * `drystone vm console NAME --follow` and `--interactive`: over every start on another host. What
 * is typed meanwhile goes to wherever the machine runs.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { CodedError } from "../base/index.ts";
import type { VmConsoleView } from "../host/index.ts";
import type { ApiClient } from "./api-client.ts";
import type { Output } from "./output.ts";

const ASK_MS = 300;
const ASK_WHILE_TYPING_MS = 100;
/** Ctrl-], which telnet leaves by as well. */
const DETACH = "\u001d";
const TYPED_LENGTH_MAX = 4096;
/** The machine does not run, or its host is not there: it may yet be started elsewhere. */
const WAITED_FOR: ReadonlySet<string> = new Set([
  "vm-runs-not",
  "connection-failed",
  "directory-unavailable",
]);

/** What is typed, and what is the matter with the terminal. */
export interface Typed {
  readonly isTTY?: boolean;
  setRawMode?(isRaw: boolean): unknown;
  on(event: "data", callback: (bytes: Buffer) => void): unknown;
  on(event: "end", callback: () => void): unknown;
  pause(): unknown;
}

/**
 * Types what comes from `typed` on the machine's console and prints what that prints, until Ctrl-]
 * or the end of what is typed. Fails if the machine is unknown, or the asked host is gone.
 */
export async function interactConsole(
  client: ApiClient,
  request: Readonly<Record<string, unknown>>,
  output: Output,
  typed: Typed,
): Promise<void> {
  const { name } = request;
  const ending = new AbortController();
  // The first answer tells what is wrong with the request before the terminal is taken.
  const part = await client.call("vm.console", { name, ...fromOf(request["from"]) });
  output.message(`drystone: this is ${part.name} on ${part.host}; Ctrl-] leaves it\n`);
  print(part, output);
  typed.setRawMode?.(true);
  const typing = typeOn(client, String(name), output, typed, ending);
  try {
    await follow(client, { name, from: part.next, epoch: part.epoch }, output, ending.signal);
  } finally {
    ending.abort();
    typed.setRawMode?.(false);
    typed.pause();
  }
  await typing;
  output.message("\ndrystone: left\n");
}

/** Resolves when nothing more will be typed. */
async function typeOn(
  client: ApiClient,
  name: string,
  output: Output,
  typed: Typed,
  ending: AbortController,
): Promise<void> {
  let waiting = "";
  let wake: () => void = () => {};
  let isOver = false;
  const over = (): void => {
    isOver = true;
    wake();
  };
  typed.on("data", (bytes) => {
    const text = bytes.toString("utf8");
    const end = text.indexOf(DETACH);
    waiting += end === -1 ? text : text.slice(0, end);
    if (end === -1) wake();
    else over();
  });
  typed.on("end", over);
  ending.signal.addEventListener("abort", over);
  for (;;) {
    while (waiting !== "") {
      const text = waiting.slice(0, TYPED_LENGTH_MAX);
      waiting = waiting.slice(text.length);
      await typeText(client, name, text, output);
    }
    if (isOver) break;
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  ending.abort();
}

async function typeText(
  client: ApiClient,
  name: string,
  text: string,
  output: Output,
): Promise<void> {
  try {
    await client.call("vm.type", { name, text });
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    output.message(`\r\ndrystone: not typed: ${error.message}\r\n`);
  }
}

function fromOf(from: unknown): { readonly from?: unknown } {
  return from === undefined ? {} : { from };
}

/**
 * Prints until the process is ended. Fails if the machine is unknown, or the asked host is gone.
 */
export async function followConsole(
  client: ApiClient,
  request: Readonly<Record<string, unknown>>,
  output: Output,
): Promise<never> {
  await follow(client, request, output);
  throw new Error("it is followed for ever");
}

async function follow(
  client: ApiClient,
  request: Readonly<Record<string, unknown>>,
  output: Output,
  signal?: AbortSignal,
): Promise<void> {
  const { name, from: first } = request;
  let from = first;
  let epoch = typeof request["epoch"] === "number" ? request["epoch"] : undefined;
  let waitsFor: string | undefined;
  for (;;) {
    if (signal?.aborted === true) return;
    try {
      const part = await client.call("vm.console", { name, ...fromOf(from) });
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
    await sleep(signal === undefined ? ASK_MS : ASK_WHILE_TYPING_MS);
  }
}

function print(part: VmConsoleView, output: Output): void {
  if (part.text === "") return;
  output.data(output.isJson ? `${JSON.stringify(part)}\n` : part.text);
}
