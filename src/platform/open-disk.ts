/** Opens a device with the best adapter that this host allows; `kind` of the result says which. */
import { CodedError, errorText } from "../base/index.ts";
import type { Disk } from "../ports/index.ts";
import { DeviceFile } from "./device-file.ts";
import type { DeviceOptions } from "./device-file.ts";
import { NodeDisk } from "./node-disk.ts";
import { SystemCallError } from "./sys.ts";
import { UringDisk } from "./uring-disk.ts";

export type DiskKind = "io_uring" | "node-fs";

export interface DiskOptions extends DeviceOptions {
  /** Default: what the environment variable DRYSTONE_DISK says, or else io_uring where it works. */
  readonly kind?: DiskKind;
}

/**
 * Fails with the codes of `DeviceFile.open`, with `io-uring-unavailable` if io_uring is asked for
 * and the host forbids it, or with `disk-kind-unknown` for another word in DRYSTONE_DISK.
 */
export function openDisk(path: string, options: DiskOptions = {}): Disk {
  const kind = options.kind ?? kindFromEnvironment();
  const file = DeviceFile.open(path, options);
  if (kind === "node-fs") return new NodeDisk(file);
  try {
    return new UringDisk(file);
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    if (kind === undefined) return new NodeDisk(file);
    file.close();
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
