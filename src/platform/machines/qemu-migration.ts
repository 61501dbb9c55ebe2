/**
 * One QEMU's memory to another one, over a socket. The source asks the target whether all has
 * arrived (`return-path`) before it says so itself, and slows a guest down that writes faster than
 * the network carries (`auto-converge`).
 */
import { CodedError } from "../../base/index.ts";
import type { QmpClient } from "./qmp-client.ts";

const POLL_MS = 50;
/** Without a byte more of memory for so long it is given up. */
const STILL_MS_MAX = 20_000;
const DOWNTIME_MS = 300;
/** As fast as the network goes. */
const BYTES_PER_SECOND_MAX: number = 2 ** 36;

interface Progress {
  readonly status: string;
  readonly error: string | undefined;
  readonly sentBytes: number;
}

/** Fails with `vm-migration-failed`; the machine goes on by itself then, if it ran. */
export async function sendMemory(client: QmpClient, name: string, socket: string): Promise<void> {
  const capabilities = ["return-path", "auto-converge"].map((capability) => {
    return { capability, state: true };
  });
  await client.command("migrate-set-capabilities", { capabilities });
  const limits = { "max-bandwidth": BYTES_PER_SECOND_MAX, "downtime-limit": DOWNTIME_MS };
  await client.command("migrate-set-parameters", limits);
  await client.command("migrate", { uri: `unix:${socket}` });
  let last = -1;
  let lastMs = performance.now();
  for (;;) {
    const { status, error, sentBytes } = await progressOf(client);
    if (status === "completed") return;
    if (status === "failed" || status === "cancelled")
      throw notSent(name, error ?? `the migration ${status}`);
    const nowMs = performance.now();
    if (sentBytes !== last) [last, lastMs] = [sentBytes, nowMs];
    if (nowMs - lastMs > STILL_MS_MAX) {
      await client.command("migrate_cancel");
      throw notSent(name, `nothing was sent for ${STILL_MS_MAX / 1000} seconds`);
    }
    await new Promise((resolve) => void setTimeout(resolve, POLL_MS));
  }
}

/** Fails with `vm-migration-failed` if it is still waiting for memory. */
export async function requireWhole(client: QmpClient, name: string): Promise<void> {
  const { status } = (await client.command("query-status")) as { readonly status?: unknown };
  if (status === "inmigrate")
    throw new CodedError({ code: "vm-migration-failed", message: `${name} is not whole yet` });
}

async function progressOf(client: QmpClient): Promise<Progress> {
  const said = (await client.command("query-migrate")) as Readonly<Record<string, unknown>>;
  const { status, ram, "error-desc": error } = said;
  const sent =
    typeof ram === "object" && ram !== null && "transferred" in ram ? Number(ram.transferred) : 0;
  return {
    status: String(status),
    error: typeof error === "string" ? error : undefined,
    sentBytes: sent,
  };
}

function notSent(name: string, why: string): CodedError {
  return new CodedError({ code: "vm-migration-failed", message: `${name} is not sent: ${why}` });
}
