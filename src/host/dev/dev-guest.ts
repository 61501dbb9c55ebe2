/**
 * The virtual machine `guest` of a development cluster: a Linux that counts on a mirrored volume,
 * to be watched while the host under it is killed.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CodedError } from "../../base/index.ts";
import { QemuHypervisor } from "../../platform/index.ts";
import { callApi } from "../api/api-call.ts";

export const GUEST_NAME = "guest";
const VOLUME_BYTES: number = 256 * 2 ** 20;
const MEMORY_BYTES: number = 256 * 2 ** 20;
/** It counts some times a second instead of as fast as it can. */
const COMMAND_LINE = "console=ttyS0 quiet panic=-1 drystone.job=counter drystone.pause=0.3";

export interface GuestFiles {
  readonly kernelPath: string;
  readonly initrdPath: string;
}

/** Of a folder that `scripts/guest.ts` has made. Fails with `usage` if they are not there. */
export function guestFilesIn(folder: string): GuestFiles {
  const files = { kernelPath: join(folder, "kernel"), initrdPath: join(folder, "initramfs") };
  for (const path of Object.values(files))
    if (!existsSync(path))
      throw new CodedError({
        code: "usage",
        message: `--guest is a folder with a kernel and an initramfs, and there is no ${path}`,
        hint: "npm start makes one; or leave --guest out",
      });
  return files;
}

/**
 * Defines and starts it, once: a user who has deleted it does not get it again. `folder` is where
 * that is noted.
 */
export async function makeGuest(
  api: string,
  folder: string,
  { kernelPath, initrdPath }: GuestFiles,
): Promise<void> {
  const marker = join(folder, "guest-made");
  if (existsSync(marker)) return;
  const volume = { name: GUEST_NAME, sizeBytes: VOLUME_BYTES, failuresToTolerate: 1 };
  await unlessThere("volume-exists", () => callApi(api, "POST", "/v1/volumes", volume));
  const vm = {
    name: GUEST_NAME,
    volumes: [GUEST_NAME],
    memoryBytes: MEMORY_BYTES,
    kernel: kernelPath,
    initrd: initrdPath,
    append: COMMAND_LINE,
  };
  await unlessThere("vm-exists", () => callApi(api, "POST", "/v1/vms", vm));
  await callApi(api, "POST", `/v1/vms/${GUEST_NAME}/start`, {});
  writeFileSync(
    marker,
    "The machine guest was made once; remove this file to have it made again.\n",
  );
}

async function unlessThere(code: string, make: () => Promise<unknown>): Promise<void> {
  try {
    await make();
  } catch (error) {
    if (!(error instanceof CodedError) || error.code !== code) throw error;
  }
}

/** Ends what a host of the cluster ran: with its power, machines go. */
export async function endMachines(hostFolder: string): Promise<void> {
  const folder = join(hostFolder, "state", "vms");
  if (!existsSync(folder)) return;
  const hypervisor = new QemuHypervisor({ folder, accelerator: "tcg" });
  for (const { vmId } of await hypervisor.list()) await hypervisor.kill(vmId);
  await hypervisor.close();
}
