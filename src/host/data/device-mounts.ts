/**
 * Where the file systems are mounted that the folders of devices were on: kept in the state
 * directory. Where a disk is not mounted an empty folder is left, which looks like a new disk: a
 * device made there fills the file system of the machine itself, and everything that was on the
 * disk is made anew at once, although nothing of it is lost.
 */
import { existsSync, mkdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { CodedError, errorText } from "../../base/index.ts";
import { writeDurably } from "../durable-file.ts";
import { isRecord } from "../api/shape.ts";

const FILE = "mounts.json";
const FORMAT = 1;

type Mounts = Readonly<Record<string, string>>;

export class DeviceMounts {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Before a device is made in the folder `path`. Fails with `device-missing` if the file system
   * is not mounted that the device was on which this host had there, or with `state-damaged`.
   */
  check(path: string): void {
    const known = this.#read()[path];
    if (known === undefined || !isAbove(mountOf(path), known)) return;
    throw new CodedError({
      code: "device-missing",
      message:
        `${known} is not mounted, and the device that this host had at ${path} ` +
        "is on the file system that belongs there",
      hint: "Mount it and start the host again; --wipe PATH makes an empty device without it",
      details: { path },
    });
  }

  /** Durably, once there is a device. Fails with `state-unwritable` or `no-space`. */
  note(path: string): void {
    const mounts = this.#read();
    const mount = mountOf(path);
    if (mounts[path] === mount) return;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const text = JSON.stringify({ format: FORMAT, mounts: { ...mounts, [path]: mount } });
    writeDurably(this.#folder, FILE, `${text}\n`);
  }

  #read(): Mounts {
    const path = join(this.#folder, FILE);
    if (!existsSync(path)) return {};
    try {
      const file: unknown = JSON.parse(readFileSync(path, "utf8"));
      if (!isRecord(file) || file["format"] !== FORMAT || !isMounts(file["mounts"]))
        throw new Error("it has another format");
      return file["mounts"];
    } catch (error) {
      throw new CodedError(
        {
          code: "state-damaged",
          message: `${path} cannot be read: ${errorText(error)}`,
          hint: "See that the file systems of all devices are mounted, and remove it",
        },
        { cause: error },
      );
    }
  }
}

function isMounts(value: unknown): value is Mounts {
  return isRecord(value) && Object.values(value).every((mount) => typeof mount === "string");
}

/**
 * The top of the file system that a path is on, or will be once it is made. By the numbers of file
 * systems: a service's sandbox mounts folders upon themselves.
 */
function mountOf(path: string): string {
  if (!existsSync(path)) return mountOf(dirname(path));
  let top = realpathSync(path);
  const { dev } = statSync(top);
  while (dirname(top) !== top && statSync(dirname(top)).dev === dev) top = dirname(top);
  return top;
}

function isAbove(path: string, other: string): boolean {
  return path !== other && other.startsWith(path.endsWith("/") ? path : `${path}/`);
}
