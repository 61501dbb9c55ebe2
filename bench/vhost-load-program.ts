/**
 * The program that loads a disk at a vhost-user socket. The one in C takes a tenth of the processor
 * time of the one in Node, which fills a core before a fast back end does: it is taken where there
 * is a compiler.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface LoadProgram {
  readonly command: string;
  readonly args: readonly string[];
  readonly language: "C" | "Node";
}

const SOURCE = fileURLToPath(new URL("../../bench/vhost-load.c", import.meta.url));
const FOLDER = fileURLToPath(new URL("../../.cache/bench", import.meta.url));

let known: LoadProgram | undefined;

/** Compiled anew once for each run. Fails if there is a compiler that does not take the source. */
export function vhostLoadProgram(): LoadProgram {
  known ??= compiled() ?? {
    command: process.execPath,
    args: [fileURLToPath(new URL("./vhost-load.js", import.meta.url))],
    language: "Node",
  };
  return known;
}

function compiled(): LoadProgram | undefined {
  mkdirSync(FOLDER, { recursive: true });
  const command = join(FOLDER, "vhost-load");
  const { error, status, stderr } = spawnSync("cc", ["-O2", "-o", command, SOURCE], {
    encoding: "utf8",
  });
  if (error !== undefined) return undefined;
  if (status !== 0) throw new Error(`cc does not compile ${SOURCE}: ${stderr}`);
  return { command, args: [], language: "C" };
}
