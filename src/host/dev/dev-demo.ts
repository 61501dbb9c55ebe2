/**
 * Where the volume `demo` of a development cluster is served, and having it served elsewhere when
 * that host is gone or cannot serve it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { CodedError, errorText } from "../../base/index.ts";
import { callApi } from "../api/api-call.ts";
import type { ApiCallOptions } from "../api/api-call.ts";
import type { AttachmentView, VolumeList } from "../api/views.ts";

/** A host that stands still is not waited for. */
const ASK_MS_MAX = 1500;
const STRAGGLER_MS_MAX = 300;
const ATTACH_MS_MAX = 20_000;

export interface DemoHost {
  readonly name: string;
  readonly api: string;
  /** Where this host offers the volume. */
  readonly socket: string;
  /** As `ApiCallOptions.tls`. */
  readonly tls?: ApiCallOptions["tls"];
}

interface Answer {
  readonly host: DemoHost;
  readonly attachment: AttachmentView | undefined;
}

/**
 * The path of the socket of whoever serves the volume; one of `hosts` is made to if nobody does.
 * Fails as the last host that was asked.
 */
export async function locateDemo(hosts: readonly DemoHost[]): Promise<string> {
  const { answers, failure } = await askAll(hosts);
  const served = servedAt(answers);
  if (served !== undefined) return served;
  let last = failure;
  for (const { host } of answers) {
    try {
      const request = { nbd: host.socket };
      const path = "/v1/volumes/demo/attach";
      const answer = await callApi(host.api, "POST", path, request, optionsOf(host, ATTACH_MS_MAX));
      return (answer as AttachmentView).address; // What a host of the same version answers.
    } catch (error) {
      last = error;
    }
  }
  if (last instanceof CodedError) throw last;
  throw new CodedError({ code: "no-host", message: `no host serves demo: ${errorText(last)}` });
}

/** What a host says of itself counts more than what others say of it. */
function servedAt(answers: readonly Answer[]): string | undefined {
  const own = answers.find(({ host, attachment }) => attachment?.host === host.name);
  const told = own ?? answers.find(({ attachment }) => attachment?.state === "online");
  return told?.attachment?.state === "online" ? told.attachment.address : undefined;
}

/** Those that answer, and soon after the first one: a host that stands still holds nobody up. */
async function askAll(
  hosts: readonly DemoHost[],
): Promise<{ readonly answers: readonly Answer[]; readonly failure: unknown }> {
  let failure: unknown;
  const answers: Answer[] = [];
  const asked = hosts.map(async (host) => {
    try {
      const options = optionsOf(host, ASK_MS_MAX);
      const answer = await callApi(host.api, "GET", "/v1/volumes", undefined, options);
      const { volumes } = answer as VolumeList; // What a host of the same version answers.
      answers.push({ host, attachment: volumes.find(({ name }) => name === "demo")?.attachment });
    } catch (error) {
      failure = error;
      throw error;
    }
  });
  // Rejects if none answers, which is told by the failure.
  const first = Promise.any(asked).then(() => sleep(STRAGGLER_MS_MAX));
  await Promise.race([first.catch(() => undefined), Promise.allSettled(asked)]);
  return { answers: [...answers], failure };
}

function optionsOf({ tls }: DemoHost, limitMs: number): ApiCallOptions {
  return { limitMs, ...(tls === undefined ? {} : { tls }) };
}
