/**
 * `drystone volume export`: a snapshot of a volume, whole or as changes since an older one, as a
 * checked stream. What holds nothing is not in it.
 */
import { open, unlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { resolve } from "node:path";
import { assertDefined, CodedError, errorText, formatSize } from "../base/index.ts";
import { EXPORT_BODY_BYTES_MAX } from "../format/index.ts";
import type { VolumeChangesRequest, VolumeChangesView } from "../host/index.ts";
import type { ApiClient } from "./api-client.ts";
import { exportingName, removeLeftovers } from "./leftovers.ts";
import { NbdClient } from "./nbd-client.ts";
import type { Output } from "./output.ts";
import { StreamWriter } from "./volume-stream.ts";
import type { StreamHead } from "./volume-stream.ts";

const READS_AHEAD = 4;
const FILE_MODE = 0o600;
/** Between a volume and its snapshot. */
const MARK = "@";
const FULL = new Set(["ENOSPC", "EDQUOT"]);
const STDOUT_HINT = "What has arrived is no whole stream; an import refuses it";

export interface ExportRequest {
  readonly name: string;
  readonly snapshot: string | undefined;
  readonly since: string | undefined;
  /** Standard output if absent. */
  readonly output: string | undefined;
}

interface Sink {
  readonly write: (bytes: Uint8Array) => Promise<void>;
  readonly finish: () => Promise<void>;
  readonly abandon: () => Promise<void>;
}

export async function exportVolume(
  client: ApiClient,
  request: ExportRequest,
  output: Output,
): Promise<number> {
  const { name, snapshot, since } = named(request);
  const isOwn = snapshot === undefined;
  await removeLeftovers(client, output);
  const short = snapshot ?? exportingName();
  const full = `${name}@${short}`;
  const sink = await sinkFor(request.output, output);
  try {
    if (isOwn) await client.call("snapshot.create", { name: full });
    try {
      const writer = new StreamWriter(sink.write);
      await withReader(client, full, async (nbd) => {
        await writer.head(await headFor(client, name, short, since));
        await copy(client, full, since, nbd, writer);
        await writer.end();
      });
      await sink.finish();
      tell(output, request.output, { of: full, bytes: writer.bytes });
    } finally {
      if (isOwn) await client.call("snapshot.delete", { name: full });
    }
  } catch (error) {
    await sink.abandon();
    throw error;
  }
  return 0;
}

/** A snapshot may be named as everywhere else, with its volume before it. */
function named(
  request: ExportRequest,
): Pick<ExportRequest, "since" | "snapshot"> & { readonly name: string } {
  const [name = "", own] = request.name.split(MARK);
  const ofVolume = (text: string | undefined): string | undefined =>
    text?.startsWith(`${name}${MARK}`) === true ? text.slice(name.length + 1) : text;
  const [snapshot, since] = [ofVolume(request.snapshot), ofVolume(request.since)];
  if (own !== undefined && snapshot !== undefined && own !== snapshot)
    throw new CodedError({
      code: "usage",
      message: `two snapshots are named, ${request.name} and ${snapshot}`,
      hint: "name one of them",
    });
  return { name, snapshot: own ?? snapshot, since };
}

/** Standard output is the stream's, if no file is. */
function tell(
  output: Output,
  file: string | undefined,
  done: { readonly of: string; readonly bytes: number },
): void {
  const text = `exported ${done.of}, ${formatSize(done.bytes)}\n`;
  if (file === undefined) output.message(text);
  else output.data(output.isJson ? `${JSON.stringify({ ...done, file })}\n` : text);
}

async function headFor(
  client: ApiClient,
  volume: string,
  snapshot: string,
  since: string | undefined,
): Promise<StreamHead> {
  const head = { volume, snapshot, ...(await digestOf(client, `${volume}@${snapshot}`)) };
  if (since === undefined) return head;
  const { digest } = await digestOf(client, `${volume}@${since}`);
  return { ...head, base: { snapshot: since, digest } };
}

export async function digestOf(
  client: ApiClient,
  name: string,
): Promise<Pick<StreamHead, "sizeBytes" | "digest" | "domainId">> {
  const said = await client.call("volume.changes", { name, digest: true });
  const { sizeBytes, domainId } = said;
  const digest = assertDefined(said.digest, "it was asked for");
  return { sizeBytes, digest, ...(domainId === undefined ? {} : { domainId }) };
}

/** Attached for as long as it is read, unless it is anyway. */
async function withReader(
  client: ApiClient,
  name: string,
  work: (nbd: NbdClient) => Promise<void>,
): Promise<void> {
  const { snapshots } = await client.call("snapshot.list", {});
  const known = snapshots.find((one) => one.name === name)?.attachment;
  const { uri } = known ?? (await client.call("volume.attach", { name }));
  try {
    const nbd = await NbdClient.connect(uri);
    try {
      await work(nbd);
    } finally {
      nbd.close();
    }
  } finally {
    if (known === undefined) await client.call("volume.detach", { name });
  }
}

interface Piece {
  readonly kind: "data" | "zeroes";
  readonly offset: number;
  readonly lengthBytes: number;
}

async function copy(
  client: ApiClient,
  name: string,
  since: string | undefined,
  nbd: NbdClient,
  writer: StreamWriter,
): Promise<void> {
  const ahead: { readonly piece: Piece; readonly data: Promise<Buffer> }[] = [];
  const writeFirst = async (): Promise<void> => {
    const { piece, data } = assertDefined(ahead.shift(), "something is under way");
    const { offset, lengthBytes } = piece;
    if (piece.kind === "data") await writer.part({ kind: "data", offset, data: await data });
    else await writer.part({ kind: "zeroes", offset, lengthBytes });
  };
  for await (const piece of pieces(client, name, since)) {
    const isData = piece.kind === "data";
    const data = isData
      ? nbd.read(piece.offset, piece.lengthBytes)
      : Promise.resolve(Buffer.alloc(0));
    // Whoever waits for it hears of its failure.
    data.catch(() => {});
    ahead.push({ piece, data });
    if (ahead.length > READS_AHEAD) await writeFirst();
  }
  while (ahead.length > 0) await writeFirst();
}

async function* pieces(
  client: ApiClient,
  name: string,
  since: string | undefined,
): AsyncGenerator<Piece> {
  let offset: number | undefined = 0;
  while (offset !== undefined) {
    const from: VolumeChangesRequest = { name, offset, ...(since === undefined ? {} : { since }) };
    const answer: VolumeChangesView = await client.call("volume.changes", { ...from });
    const { ranges, nextOffset, sizeBytes } = answer;
    for (const { kind, offset: start, lengthBytes } of ranges) {
      // The last block of a volume may be longer than what the volume has of it.
      const end = Math.min(start + lengthBytes, sizeBytes);
      // What a whole export does not have is nothing.
      if (kind === "hole" && since === undefined) continue;
      const longest = kind === "data" ? EXPORT_BODY_BYTES_MAX : end - start;
      for (let at = start; at < end; at += longest) {
        const length = Math.min(longest, end - at);
        yield { kind: kind === "data" ? "data" : "zeroes", offset: at, lengthBytes: length };
      }
    }
    offset = nextOffset;
  }
}

async function sinkFor(file: string | undefined, output: Output): Promise<Sink> {
  if (file === undefined) return standardOutput(output);
  const path = resolve(file);
  let handle: FileHandle;
  try {
    handle = await open(path, "wx", FILE_MODE);
  } catch (error) {
    throw unwritable(path, error, "Give another path with --output");
  }
  const trying = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      const hint = isFull(error) ? "Make room, or give another path" : "Give another path";
      throw unwritable(path, error, `${hint} with --output; nothing is left of this one`);
    }
  };
  return {
    write: (bytes) => trying(() => handle.writeFile(bytes)),
    finish: () =>
      trying(async () => {
        await handle.sync();
        await handle.close();
      }),
    abandon: async () => {
      await handle.close();
      await unlink(path);
    },
  };
}

function isFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && FULL.has(String(error.code));
}

function unwritable(path: string, error: unknown, hint: string): CodedError {
  return new CodedError(
    {
      code: "file-unwritable",
      message: `${path} cannot be written: ${errorText(error)}`,
      hint,
    },
    { cause: error },
  );
}

function standardOutput(output: Output): Sink {
  if (process.stdout.isTTY)
    throw new CodedError({
      code: "usage",
      message: `a terminal is no place for a volume${output.isJson ? ", nor for JSON" : ""}`,
      hint: "give --output FILE, or pipe it on",
    });
  // Whoever writes hears of it, and a reader that went away has not got all.
  process.stdout.removeAllListeners("error").on("error", () => {});
  return {
    write: (bytes) =>
      new Promise((done, fail) => {
        process.stdout.write(bytes, (error) =>
          error ? fail(unwritable("standard output", error, STDOUT_HINT)) : done(),
        );
      }),
    finish: async () => {},
    abandon: async () => {},
  };
}
