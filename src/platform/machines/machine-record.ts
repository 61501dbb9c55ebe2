/** What the folder of a machine says of it: a small file, which may be damaged. */
import * as fs from "node:fs";
import { errorText } from "../../base/index.ts";
import { isProcessIdentity, processWithArgument } from "../process-identity.ts";
import type { ProcessIdentity } from "../process-identity.ts";
import { writeWhole } from "../whole-file.ts";

/** Of no placement: whoever compares it with a record ends the machine. */
const EPOCH_UNKNOWN = 0;

export interface StoredVm extends ProcessIdentity {
  readonly vmId: string;
  readonly epoch: number;
  /** It waits for the memory of one that runs elsewhere, by this migration. */
  readonly migration?: number;
  readonly hasAgent?: boolean;
  /** Its disks are, for want of vhost-user in QEMU. */
  readonly isOverNbd?: boolean;
}

export class MachineRecord {
  readonly #vmId: string;
  readonly #path: string;
  readonly #argument: string;

  /** `argument` is one that the machine's process alone has. */
  constructor(vmId: string, path: string, argument: string) {
    this.#vmId = vmId;
    this.#path = path;
    this.#argument = argument;
  }

  /**
   * Undefined if there is none. The process of one that is damaged is looked for: if there is one
   * it is of no placement, otherwise the file is put aside. `onDamage` is told the reason.
   */
  read(onDamage: (why: string) => void): StoredVm | undefined {
    try {
      const text = textIn(this.#path);
      return text === undefined ? undefined : this.#parse(text);
    } catch (error) {
      onDamage(errorText(error));
      return this.#lookFor();
    }
  }

  /** Durable when it returns. */
  write(stored: StoredVm): void {
    writeWhole(this.#path, JSON.stringify(stored));
  }

  #parse(text: string): StoredVm {
    const stored: unknown = JSON.parse(text);
    if (isProcessIdentity(stored)) {
      const { vmId, epoch } = stored as Partial<StoredVm>;
      if (vmId === this.#vmId && Number.isSafeInteger(epoch)) return stored as StoredVm;
    }
    throw new Error("it does not say which process and placement");
  }

  #lookFor(): StoredVm | undefined {
    const process = processWithArgument(this.#argument);
    if (process !== undefined) return { vmId: this.#vmId, epoch: EPOCH_UNKNOWN, ...process };
    try {
      fs.renameSync(this.#path, `${this.#path}.damaged`);
    } catch {
      // Then it is looked for again the next time.
    }
    return undefined;
  }
}

function textIn(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    // Among the machines' folders there may be files.
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
