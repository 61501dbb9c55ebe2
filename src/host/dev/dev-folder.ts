/** Where a development cluster keeps everything. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { CodedError, errorText } from "../../base/index.ts";

/** Makes `folder` and what is in it; fails with `state-unwritable`. */
export function makeDevFolder(folder: string, inside: string): void {
  try {
    mkdirSync(join(folder, inside), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new CodedError(
      {
        code: "state-unwritable",
        message: `${folder} cannot be made: ${errorText(error)}`,
        hint: "Give another folder with --dir",
      },
      { cause: error },
    );
  }
}
