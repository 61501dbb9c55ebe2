/**
 * The files of this host that machines may boot from: kernels, initramfs and firmware below folders
 * that its configuration names. QEMU reads them as the host's user and a guest can print what it
 * was given, so that any other file would be told to whoever may define machines.
 */
import { realpathSync, statSync } from "node:fs";
import { isAbsolute, relative, resolve } from "node:path";
import { CodedError } from "../../base/index.ts";
import { AddedDevices } from "../data/added-devices.ts";
import type { HostConfig } from "../host-config.ts";

export class BootFiles {
  readonly #folders: readonly string[];
  readonly #secret: () => readonly string[];

  /** `secret` are files and folders that are never booted from, wherever they are. */
  constructor(folders: readonly string[], secret: () => readonly string[]) {
    this.#folders = folders;
    this.#secret = secret;
  }

  static of(config: HostConfig): BootFiles {
    const { stateDir, keyFile, cluster, devices } = config;
    const added = new AddedDevices(stateDir);
    const { tls, member } = cluster ?? {};
    const own = [stateDir, keyFile, ...(tls === undefined ? [] : [tls])];
    if (member !== undefined) own.push(member.folder);
    return new BootFiles(config.bootFolders, () => [
      ...own,
      ...[...devices, ...added.besides(devices)].map(({ path }) => path),
    ]);
  }

  /**
   * Before a machine is defined. A file that is not here may be on the host that starts it, and is
   * judged by its name. Fails with `boot-file-refused`.
   */
  check(file: string): void {
    this.#judge(file);
  }

  /**
   * The file itself, free of links. Fails with `boot-file-refused`, or with `vm-not-started` if it
   * is not there.
   */
  open(file: string): string {
    const real = this.#judge(file);
    if (real !== undefined) return real;
    throw new CodedError({
      code: "vm-not-started",
      message: `this host has no file ${file}`,
      hint: "every host needs what its machines boot from, at the same path",
    });
  }

  /** What is refused is refused with the same words whether it is there or not. */
  #judge(file: string): string | undefined {
    const real = realOf(file);
    const found = real ?? resolve(file);
    const isAllowed =
      isAbsolute(file) &&
      // QEMU takes what follows a comma for another file.
      !`${file}${found}`.includes(",") &&
      this.#folders.some((folder) => isWithin(found, folder)) &&
      !this.#secret().some((one) => isWithin(found, one)) &&
      (real === undefined || statSync(real, { throwIfNoEntry: false })?.isFile() !== false);
    if (isAllowed) return real;
    throw new CodedError({
      code: "boot-file-refused",
      message: `machines may not boot from ${file}`,
      hint: `put it into ${this.#folders.join(" or ") || "a folder"}, as bootFolders of the host's configuration has it`,
    });
  }
}

/** Also within what `folder` is a link to. */
function isWithin(file: string, folder: string): boolean {
  return [folder, realOf(folder) ?? folder].some((one) => {
    const way = relative(one, file);
    return way !== ".." && !way.startsWith("../") && !isAbsolute(way);
  });
}

function realOf(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
