/** Small files that are the old one or the new one, whole, also after a loss of power. */
import * as fs from "node:fs";
import * as path from "node:path";
import { syncFolder } from "./file-lock.ts";

/** For the owner alone. Throws what the file system does. */
export function writeWhole(file: string, text: string): void {
  const unfinished = `${file}.unfinished`;
  const written = fs.openSync(unfinished, "w", 0o600);
  try {
    fs.writeFileSync(written, text);
    fs.fsyncSync(written);
  } finally {
    fs.closeSync(written);
  }
  fs.renameSync(unfinished, file);
  syncFolder(path.dirname(file));
}
