/** Opens a device with the best adapter that this host allows; `kind` of the result says which. */
import { CodedError, errorText } from "../../base/index.ts";
import type { Disk } from "../../ports/index.ts";
import { DeviceFile } from "./device-file.ts";
import type { DeviceOptions } from "./device-file.ts";
import { NodeDisk } from "./node-disk.ts";
import type { DeviceFiles } from "./queued-disk.ts";
import { SystemCallError } from "../sys.ts";
import { UringDisk } from "./uring-disk.ts";

export type DiskKind = "io_uring" | "node-fs";

export interface DiskOptions extends DeviceOptions {
  /** Default: what the environment variable DRYSTONE_DISK says, or else io_uring where it works. */
  readonly kind?: DiskKind;
  /** A second file for everything below its size; made if `createSizeBytes` is given. */
  readonly head?: { readonly path: string; readonly createSizeBytes?: number };
}

/**
 * Fails with the codes of `DeviceFile.open`, with `io-uring-unavailable` if io_uring is asked for
 * and the host forbids it, or with `disk-kind-unknown` for another word in DRYSTONE_DISK.
 */
export function openDisk(path: string, options: DiskOptions = {}): Disk {
  const kind = options.kind ?? kindFromEnvironment();
  const files = openFiles(path, options);
  if (kind === "node-fs") return new NodeDisk(files);
  try {
    return new UringDisk(files);
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    if (kind === undefined) return new NodeDisk(files);
    files.main.close();
    files.head?.close();
    throw new CodedError(
      {
        code: "io-uring-unavailable",
        message: `io_uring cannot be used on this host: ${errorText(error)}`,
        hint: "Unset DRYSTONE_DISK, or allow io_uring (sysctl kernel.io_uring_disabled, seccomp)",
      },
      { cause: error },
    );
  }
}

function openFiles(path: string, options: DiskOptions): DeviceFiles {
  if (options.head === undefined) return { main: DeviceFile.open(path, options) };
  const { path: headPath, createSizeBytes } = options.head;
  const { directWrites = false } = options;
  const preallocation = createSizeBytes === undefined ? {} : { createSizeBytes };
  // The head first: a main file without one would be taken for a device that lost its journal.
  const head = DeviceFile.open(headPath, {
    directWrites,
    ...preallocation,
    preallocateBytes: createSizeBytes ?? 0,
  });
  try {
    return { main: DeviceFile.open(path, options), head };
  } catch (error) {
    head.close();
    throw error;
  }
}

function kindFromEnvironment(): DiskKind | undefined {
  const value = process.env["DRYSTONE_DISK"];
  if (value === undefined || value === "") return undefined;
  if (value === "io_uring" || value === "node-fs") return value;
  throw new CodedError({
    code: "disk-kind-unknown",
    message: `DRYSTONE_DISK is "${value}"`,
    hint: "Set it to io_uring or node-fs, or unset it",
  });
}
