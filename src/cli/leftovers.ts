/**
 * Exports and imports make a snapshot or a volume for the time that they take. A process that is
 * killed leaves it behind: its name says which process of which machine and start has made it, and
 * the next export or import there removes what belongs to none that lives.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { CodedError } from "../base/index.ts";
import type { ApiClient } from "./api-client.ts";
import type { Output } from "./output.ts";

const IMPORTING = "importing";
const EXPORTING = "export";
const MACHINE_ID = "/etc/machine-id";
const BOOT_ID = "/proc/sys/kernel/random/boot_id";
const NAME = /^(importing|export)-([0-9a-f]{6})-([0-9a-f]{6})-([0-9]+)-[0-9a-f]{8}$/;

export function importingName(): string {
  return nameFor(IMPORTING);
}

/** Of a snapshot, without its volume's. */
export function exportingName(): string {
  return nameFor(EXPORTING);
}

/** What cannot be removed now is told of, and stays. */
export async function removeLeftovers(client: ApiClient, output: Output): Promise<void> {
  const { volumes } = await client.call("volume.list", {});
  const { snapshots } = await client.call("snapshot.list", {});
  for (const { name, attachment } of volumes)
    if (isLeftover(name)) await remove(client, output, name, "volume.delete", attachment);
  for (const { name, attachment } of snapshots)
    if (isLeftover(name.slice(name.indexOf("@") + 1)))
      await remove(client, output, name, "snapshot.delete", attachment);
}

async function remove(
  client: ApiClient,
  output: Output,
  name: string,
  how: "volume.delete" | "snapshot.delete",
  attachment: object | undefined,
): Promise<void> {
  try {
    if (attachment !== undefined) await client.call("volume.detach", { name });
    await client.call(how, { name });
    output.message(`removed ${name}, which a process that was killed had left\n`);
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    output.message(`${name} was left by a process that was killed, and stays: ${error.message}\n`);
  }
}

function nameFor(what: string): string {
  const suffix = randomBytes(4).toString("hex");
  return `${what}-${machine()}-${boot()}-${process.pid}-${suffix}`;
}

/** Made on this machine, by a process that is not there any more. */
function isLeftover(name: string): boolean {
  const [, , madeOn, madeIn, pid] = NAME.exec(name) ?? [];
  if (madeOn !== machine()) return false;
  return madeIn !== boot() || !existsSync(`/proc/${pid}`);
}

function machine(): string {
  return hashed(textOf(MACHINE_ID) ?? hostname());
}

function boot(): string {
  return hashed(textOf(BOOT_ID) ?? "");
}

function textOf(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

function hashed(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 6);
}
