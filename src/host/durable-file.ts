/** Small files that are whole or not there, also after a crash. */
import { join } from "node:path";
import { CodedError, errorText } from "../base/index.ts";
import { writeWhole } from "../platform/index.ts";
import { systemErrorCode } from "./system-error.ts";

/** For the owner alone. Fails with `state-unwritable` or `no-space`. */
export function writeDurably(folder: string, name: string, text: string): void {
  try {
    writeWhole(join(folder, name), text);
  } catch (error) {
    throw unwritable(folder, errorText(error), error);
  }
}

export function unwritable(path: string, reason: string, cause: unknown): CodedError {
  const isFull = systemErrorCode(cause) === "ENOSPC";
  return new CodedError(
    {
      code: isFull ? "no-space" : "state-unwritable",
      message: `the state directory ${path} cannot be written: ${reason}`,
      hint: isFull
        ? "Free space on its file system"
        : "Check its owner and mode, and that its file system is writable",
    },
    { cause },
  );
}
