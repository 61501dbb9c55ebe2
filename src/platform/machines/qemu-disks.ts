/**
 * How QEMU reaches the disks of machines: over vhost-user, or over NBD where it was built without
 * that. What a machine began with it keeps until it is started again.
 */
import { execFile } from "node:child_process";
import { CodedError } from "../../base/index.ts";
import type { VmStart } from "../../ports/index.ts";

const ASK_MS_MAX = 10_000;

/** True if QEMU cannot be asked: what it says when it is started is told then. */
export function hasVhostDisks(program: string): Promise<boolean> {
  const options = { timeout: ASK_MS_MAX, maxBuffer: 1 << 20 };
  return new Promise((resolve) => {
    execFile(program, ["-device", "help"], options, (error, stdout) =>
      resolve(error !== null || stdout.includes('"vhost-user-blk-pci"')),
    );
  });
}

/**
 * Fails if the machine, or one that is to arrive here while it runs, has a disk without a socket.
 */
export function requireNbd({ name, disks }: Pick<VmStart, "name" | "disks">): void {
  const missing = disks.find(({ nbdSocket }) => nbdSocket === undefined);
  if (missing === undefined) return;
  throw new CodedError({
    code: "vm-not-started",
    message: `${name} was not started: this host's QEMU has no vhost-user-blk, and disk ${missing.name} has no NBD socket here`,
    hint: "install a QEMU with vhost-user-blk; volumes that are attached at a TCP address, and machines that migrate, need it",
  });
}

/** A connection of NBD cannot be handed over to another host while the machine runs. */
export function boundToNbd(vmId: string): CodedError {
  return new CodedError({
    code: "vm-migration-failed",
    message: `the disks of ${vmId} are served over NBD, since this host's QEMU had no vhost-user-blk when it was started`,
    hint: "stop it and start it on the other host, or install a QEMU with vhost-user-blk and start it again",
  });
}
