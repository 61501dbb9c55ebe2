/**
 * What the development cluster and its host processes say to each other over the channel that they
 * have as parent and child. A host that nobody started so has no such channel, and no way to be
 * told.
 */
import { assert } from "../../base/index.ts";
import { isRecord } from "../api/shape.ts";

/** Set for host processes of a development cluster. */
export const DEV_CONTROL_VARIABLE = "DRYSTONE_DEV_CONTROL";

/** Sent at the start and whenever it changes: which addresses cannot be reached from the host. */
export interface CutMessage {
  readonly cut: readonly string[];
}

export interface DevControl {
  /** At the start. */
  readonly cut: readonly string[];
  readonly onCut: (callback: (addresses: readonly string[]) => void) => void;
}

/** Resolves with undefined in a host that is not one of a development cluster. */
export async function devControl(): Promise<DevControl | undefined> {
  if (process.env[DEV_CONTROL_VARIABLE] === undefined || process.channel === undefined)
    return undefined;
  let latest: readonly string[] | undefined;
  let callback: ((addresses: readonly string[]) => void) | undefined;
  const first = await new Promise<readonly string[]>((resolve) => {
    process.on("message", (message: unknown) => {
      latest = addressesOf(message);
      resolve(latest);
      callback?.(latest);
    });
  });
  // Listening is no reason to live on.
  process.channel.unref();
  return {
    cut: first,
    onCut: (given) => {
      callback = given;
      if (latest !== undefined && latest !== first) given(latest);
    },
  };
}

function addressesOf(message: unknown): readonly string[] {
  const cut = isRecord(message) ? message["cut"] : undefined;
  assert(Array.isArray(cut), "the development cluster sends lists of addresses");
  return cut.map(String);
}
