/**
 * Drives the test guest (scripts/guest.ts): boots it with a drive over NBD or vhost-user under
 * QEMU's software emulation, reads its serial console, and kills it the way a power failure would.
 * It ends only its own process.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { Program, runTool } from "./process.ts";

export type GuestJob = "changes" | "check" | "counter" | "none" | "trim" | "trims";

/** The drive's NBD address: a unix socket and the name of the export. */
export interface NbdDrive {
  readonly socket: string;
  readonly exportName: string;
  /**
   * How long QEMU tries to reconnect to a server that went away before it fails the guest's I/O.
   */
  readonly reconnectSeconds?: number;
}

export interface VhostDrive {
  readonly vhostSocket: string;
  /** Where QEMU's monitor listens, if somebody wants to speak to it. */
  readonly monitor?: string;
  /** Where the machine waits to be migrated to. */
  readonly incoming?: string;
  /** Where QEMU listens for commands (QMP), and that there is a place for more memory. */
  readonly control?: string;
  /** One queue each; default 1. */
  readonly processors?: number;
  /** It is as `makeBootDisk` has made it: the guest counts in its partition, booted from there. */
  readonly isBootDisk?: boolean;
}

export type Drive = NbdDrive | VhostDrive;
export type GuestOptions = Drive & { readonly job: GuestJob };

export interface CheckResult {
  readonly counter: number;
  readonly logLines: number;
  readonly logIsWhole: boolean;
  readonly fsckCode: number;
}

interface GuestFiles {
  readonly kernel: string;
  readonly initramfs: string;
  readonly bootSectors: string;
}

export const MEMORY_MIB = 256;
const MEMORY_MIB_MAX = 1024;
const BOOT_FILE_SYSTEM = "127M";
const BOOT_MS_MAX = 120_000;
const BUILD_MS_MAX = 300_000;

let filesOnce: Promise<GuestFiles> | undefined;

/** Builds the guest if it is not in the cache. */
export function guestFiles(): Promise<GuestFiles> {
  filesOnce ??= (async () => {
    const builder = fileURLToPath(new URL("../../scripts/guest.js", import.meta.url));
    const built = await runTool(process.execPath, [builder, "--json"], { timeoutMs: BUILD_MS_MAX });
    return JSON.parse(built.stdout) as GuestFiles;
  })();
  return filesOnce;
}

/** The guest's files where hosts of a cluster in `folder` boot machines from. */
export async function guestFilesIn(
  folder: string,
): Promise<Pick<GuestFiles, "kernel" | "initramfs">> {
  const { kernel, initramfs } = await guestFiles();
  const boot = path.join(folder, "boot");
  fs.mkdirSync(boot, { recursive: true });
  const copied = (file: string): string => {
    const copy = path.join(boot, path.basename(file));
    fs.copyFileSync(file, copy);
    return copy;
  };
  return { kernel: copied(kernel), initramfs: copied(initramfs) };
}

/** The image of a disk from which a PC boots the guest to count in its first partition. */
export async function makeBootDisk(folder: string): Promise<string> {
  const { bootSectors } = await guestFiles();
  const image = path.join(folder, "boot-disk");
  const fileSystem = path.join(folder, "boot-partition");
  await guestFilesIn(folder);
  const files = path.join(folder, "boot");
  await runTool("mke2fs", ["-q", "-t", "ext4", "-d", files, fileSystem, BOOT_FILE_SYSTEM]);
  fs.writeFileSync(image, fs.readFileSync(bootSectors));
  fs.appendFileSync(image, fs.readFileSync(fileSystem));
  fs.rmSync(fileSystem);
  return image;
}

export class TestGuest {
  readonly program: Program;

  private constructor(program: Program) {
    this.program = program;
  }

  static async start(options: GuestOptions): Promise<TestGuest> {
    const args = [
      ["-accel", "tcg", "-m", memoryArgument(options)],
      ["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"],
      await bootArguments(options),
      "vhostSocket" in options ? vhostArguments(options) : nbdArguments(options),
    ];
    const program = new Program("guest", "qemu-system-x86_64", args.flat());
    return new TestGuest(program);
  }

  get console(): readonly string[] {
    return this.program.transcript;
  }

  waitForLine(pattern: RegExp, timeoutMs: number = BOOT_MS_MAX): Promise<RegExpExecArray> {
    return this.program.waitForLine(pattern, timeoutMs);
  }

  /** Waits until the guest has printed a counter of at least `value`; returns what it printed. */
  async waitForCounter(value: number, timeoutMs: number = BOOT_MS_MAX): Promise<number> {
    const isReached = (): boolean => this.lastCounter >= value;
    await this.program.waitUntil(isReached, `counter ${value}`, timeoutMs);
    return this.lastCounter;
  }

  /** The last counter on the console: everything up to it was fsynced before it was printed. */
  get lastCounter(): number {
    for (let at = this.console.length - 1; at >= 0; at--) {
      const match = /^COUNTER (\d+)$/.exec(this.console[at] ?? "");
      if (match !== null) return Number(match[1]);
    }
    return 0;
  }

  kill(): Promise<void> {
    return this.program.kill();
  }

  /** Boots the job `check` and returns what it found, once the guest has powered off. */
  static async check(drive: Drive): Promise<CheckResult> {
    const guest = await TestGuest.start({ ...drive, job: "check" });
    try {
      await guest.waitForLine(/^DONE$/);
      const number = async (pattern: RegExp): Promise<number> =>
        Number((await guest.waitForLine(pattern))[1]);
      return {
        counter: await number(/^COUNTER-FOUND (\d+)$/),
        logLines: await number(/^LOG (\d+)/),
        logIsWhole: guest.console.some((line) => /^LOG \d+ ok$/.test(line)),
        fsckCode: await number(/^FSCK (\d+)$/),
      };
    } finally {
      await guest.kill();
    }
  }
}

/** What a guest that counted has left on its disk is whole, and nothing that it told is missing. */
export async function assertWhole(drive: VhostDrive, counterMin: number): Promise<void> {
  const found = await TestGuest.check(drive);
  assert.equal(found.fsckCode, 0, "e2fsck -n -f found errors");
  assert.ok(found.logIsWhole, "lines are missing in the guest's log");
  assert.ok(found.counter >= counterMin, `printed ${counterMin}, found ${found.counter}`);
}

/** A boot disk needs none of QEMU's help to count. */
async function bootArguments(options: GuestOptions): Promise<string[]> {
  const { job } = options;
  const isBootDisk = "isBootDisk" in options && options.isBootDisk === true;
  if (isBootDisk && job === "counter") return [];
  const { kernel, initramfs } = await guestFiles();
  const disk = isBootDisk ? " drystone.disk=/dev/vda1" : "";
  return [
    ...["-kernel", kernel, "-initrd", initramfs],
    ...["-append", `console=ttyS0 quiet panic=-1 drystone.job=${job}${disk}`],
  ];
}

function memoryArgument(drive: Drive): string {
  const mayGrow = "control" in drive && drive.control !== undefined;
  return mayGrow ? `${MEMORY_MIB}M,slots=1,maxmem=${MEMORY_MIB_MAX}M` : `${MEMORY_MIB}M`;
}

/** As `volume attach` prints it, for a smaller machine. */
function vhostArguments(drive: VhostDrive): string[] {
  const { vhostSocket, monitor, incoming, control, processors = 1 } = drive;
  return [
    ...["-smp", String(processors)],
    ...(control === undefined ? [] : ["-qmp", `unix:${control},server,nowait`]),
    ...(monitor === undefined ? [] : ["-monitor", `unix:${monitor},server,nowait`]),
    ...(incoming === undefined ? [] : ["-incoming", `unix:${incoming}`]),
    ...["-object", `memory-backend-memfd,id=mem,size=${MEMORY_MIB}M,share=on`],
    ...["-machine", "memory-backend=mem"],
    ...["-chardev", `socket,id=vhost,path=${vhostSocket},reconnect=1`],
    ...["-device", `vhost-user-blk-pci,chardev=vhost,num-queues=${processors}`],
  ];
}

function nbdArguments(drive: NbdDrive): string[] {
  const device = JSON.stringify(blockDevice(drive));
  return ["-blockdev", device, "-device", "virtio-blk-pci,drive=vda"];
}

function blockDevice(options: NbdDrive): object {
  return {
    driver: "raw",
    "node-name": "vda",
    discard: "unmap",
    cache: { direct: true, "no-flush": false },
    file: {
      driver: "nbd",
      server: { type: "unix", path: options.socket },
      export: options.exportName,
      "reconnect-delay": options.reconnectSeconds ?? 0,
      discard: "unmap",
      cache: { direct: true, "no-flush": false },
    },
  };
}
