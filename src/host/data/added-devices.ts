/**
 * Devices that were given to the host while it ran: kept in its state directory, beside those that
 * its configuration names, so that the next start has them, too. The entry is written before the
 * device is made: a host that dies in between makes it when it starts again.
 */
import { existsSync, readFileSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { CodedError, errorText } from "../../base/index.ts";
import { writeDurably } from "../durable-file.ts";
import type { DeviceConfig } from "../host-config.ts";
import { isRecord } from "../api/shape.ts";

const FILE = "devices.json";
const FORMAT = 1;

export class AddedDevices {
  readonly #folder: string;

  constructor(stateDir: string) {
    this.#folder = stateDir;
  }

  /** What the configuration does not name as well. Fails with `state-damaged`. */
  besides(configured: readonly DeviceConfig[]): readonly DeviceConfig[] {
    return this.#read().filter(({ path }) => configured.every((other) => other.path !== path));
  }

  /** Durably, before `work`, and not if that fails. */
  async add<T>(device: DeviceConfig, work: () => Promise<T>): Promise<T> {
    const before = this.#read();
    if (!isAbsolute(device.path))
      throw new CodedError({
        code: "device-invalid",
        message: `${device.path} is not an absolute path`,
        hint: "Give the path as the host sees it, from / on",
      });
    if (before.some(({ path }) => path === device.path)) return await work();
    this.#write([...before, device]);
    try {
      return await work();
    } catch (error) {
      this.#write(this.#read().filter(({ path }) => path !== device.path));
      throw error;
    }
  }

  #read(): readonly DeviceConfig[] {
    const path = join(this.#folder, FILE);
    if (!existsSync(path)) return [];
    try {
      const file: unknown = JSON.parse(readFileSync(path, "utf8"));
      if (!isRecord(file) || file["format"] !== FORMAT || !Array.isArray(file["devices"]))
        throw new Error("it has another format");
      return file["devices"].map(deviceOf);
    } catch (error) {
      throw new CodedError(
        {
          code: "state-damaged",
          message: `${path} cannot be read: ${errorText(error)}`,
          hint: "Restore it, or remove it and name the devices in the host's configuration",
        },
        { cause: error },
      );
    }
  }

  #write(devices: readonly DeviceConfig[]): void {
    writeDurably(this.#folder, FILE, `${JSON.stringify({ format: FORMAT, devices })}\n`);
  }
}

function deviceOf(value: unknown): DeviceConfig {
  if (!isRecord(value)) throw new Error("a device is no object");
  const { path, sizeBytes } = value;
  if (typeof path !== "string") throw new Error("a device has no path");
  return typeof sizeBytes === "number" ? { path, sizeBytes } : { path };
}
