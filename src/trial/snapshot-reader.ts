/** Reads what snapshots hold, on one host or another, and compares it with what was read before. */
import { CodedError, SECTOR_SIZE_BYTES } from "../base/index.ts";
import type { ObjectOwner } from "../object/index.ts";
import { BLOCK_SECTORS } from "./linearizability.ts";
import type { TrialHost } from "./trial-host.ts";
import type { TrialSnapshot } from "./trial-volume.ts";
import type { TrialWorld } from "./trial-world.ts";
import { readContents } from "./volume-history.ts";

export const READ_SECTORS: number = 16 * BLOCK_SECTORS;
const PATIENCE_MS = 20_000;

/** False if it could not be read there now. */
export async function readSnapshot(
  world: TrialWorld,
  host: TrialHost,
  snapshot: TrialSnapshot,
  firstSector: number,
): Promise<boolean> {
  const { name, objectId, contents } = snapshot;
  const sectorCount = Math.min(READ_SECTORS, contents.length - firstSector);
  const answer = await host.ask(
    async () => await read(host, await host.serve(objectId, true), firstSector, sectorCount),
    PATIENCE_MS,
  );
  if (answer.kind === "done") {
    const sector = snapshot.saw(firstSector, answer.value);
    if (sector === undefined) return true;
    const before = String(contents[sector]);
    const now = String(answer.value[sector - firstSector]);
    world.fail("snapshot", `sector ${sector} of ${name} held ${before}, and now holds ${now}`);
    return false;
  }
  if (answer.kind === "refused" && answer.code === "io-error" && !world.isDamageExplained)
    world.fail("read-error", `${name}: all disks are in order`);
  return false;
}

async function read(
  host: TrialHost,
  owner: ObjectOwner,
  firstSector: number,
  sectorCount: number,
): Promise<number[]> {
  const memory = host.takeMemory();
  const length = sectorCount * SECTOR_SIZE_BYTES;
  return await new Promise((resolve, reject) => {
    const { volume } = owner;
    volume.read(
      memory,
      0,
      length,
      firstSector * SECTOR_SIZE_BYTES,
      (_token, fault) => {
        if (fault === undefined) resolve(readContents(memory.bytes.subarray(0, length)));
        else reject(new CodedError({ code: fault, message: "the snapshot was not read" }));
        host.giveMemory(memory);
      },
      0,
    );
    volume.submit();
  });
}
