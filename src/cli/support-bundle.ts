/**
 * `drystone support-bundle`: what the API tells and what the machine is, in one compressed file,
 * without secrets. A part that cannot be had is in it as the reason why.
 */
import { writeFileSync } from "node:fs";
import { cpus, freemem, loadavg, release, totalmem } from "node:os";
import { resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { CodedError, errorText } from "../base/index.ts";
import { version } from "../host/index.ts";
import type { ApiClient } from "./api-client.ts";
import type { Output } from "./output.ts";
import { redacted } from "./redaction.ts";

const EVENTS_MAX = 1000;
const FILE_MODE = 0o600;

export async function writeSupportBundle(
  client: ApiClient,
  file: string | undefined,
  output: Output,
): Promise<number> {
  const now = new Date();
  const stamp = now.toISOString().replace(/[:.]/g, "-");
  const path = resolve(file ?? `drystone-support-${stamp}.json.gz`);
  const parts = await collect(client);
  const bundle = redacted({ madeAt: now.toISOString(), machine: machine(), ...parts });
  try {
    const text = `${JSON.stringify(bundle, undefined, 2)}\n`;
    writeFileSync(path, gzipSync(text), { mode: FILE_MODE, flag: "wx" });
  } catch (error) {
    throw new CodedError(
      {
        code: "file-unwritable",
        message: `${path} cannot be written: ${errorText(error)}`,
        hint: "Give another path with --output",
      },
      { cause: error },
    );
  }
  const text = `wrote ${path}\n  read it before you give it away: zcat ${path} | jq .\n`;
  output.data(output.isJson ? `${JSON.stringify({ path })}\n` : text);
  return 0;
}

async function collect(client: ApiClient): Promise<Record<string, unknown>> {
  const list = await part(() => client.call("health.list", {}));
  const checks = await part(() => raisedHistories(client));
  return {
    status: await part(() => client.call("status", {})),
    health: list,
    healthHistories: checks,
    hosts: await part(() => client.call("host.list", {})),
    networks: await part(() => client.call("network.show", {})),
    devices: await part(() => client.call("device.list", {})),
    volumes: await part(() => client.call("volume.list", {})),
    vms: await part(() => client.call("vm.list", {})),
    stats: await part(() => client.call("stats", {})),
    events: await part(() => client.call("events", { limit: EVENTS_MAX })),
    metrics: await part(() => client.text("/metrics")),
  };
}

/** Of the checks that find something now. */
async function raisedHistories(client: ApiClient): Promise<readonly unknown[]> {
  const { checks } = await client.call("health.list", {});
  const raised = checks.filter(({ findings }) => findings.length > 0);
  return await Promise.all(raised.map(({ id }) => client.call("health.show", { check: id })));
}

async function part(ask: () => Promise<unknown>): Promise<unknown> {
  try {
    return await ask();
  } catch (error) {
    // Nobody listens at all: there is nothing to make a bundle of.
    if (!(error instanceof CodedError) || error.code === "connection-refused") throw error;
    return { notToBeHad: error.fault };
  }
}

function machine(): object {
  return {
    drystone: version,
    node: process.version,
    kernel: release(),
    architecture: process.arch,
    processors: cpus().length,
    load: loadavg(),
    memoryBytes: totalmem(),
    freeMemoryBytes: freemem(),
  };
}
