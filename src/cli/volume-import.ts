/**
 * `drystone volume import`: makes a volume of an exported stream. It is made under another name,
 * and gets its own, by a clone, when all of the stream was there and it holds what the exported one
 * held; whatever comes between leaves no volume of that name.
 */
import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { CodedError, formatSize } from "../base/index.ts";
import type { ApiClient } from "./api-client.ts";
import { ByteSource } from "./byte-source.ts";
import { importingName, removeLeftovers } from "./leftovers.ts";
import { NbdClient } from "./nbd-client.ts";
import type { Output } from "./output.ts";
import { digestOf } from "./volume-export.ts";
import { StreamReader } from "./volume-stream.ts";
import type { StreamHead } from "./volume-stream.ts";

const WRITES_AHEAD = 8;
const ZEROES_BYTES_MAX = 1 << 30;

export interface ImportRequest {
  readonly name: string;
  /** Standard input if absent. */
  readonly input: string | undefined;
  /** VOLUME@SNAPSHOT that holds what the older snapshot of the export held. */
  readonly base: string | undefined;
  readonly failuresToTolerate: number | undefined;
  /** Of a whole export; changes are encrypted as their base is. */
  readonly encrypted: boolean;
  readonly keyDomain: string | undefined;
}

export async function importVolume(
  client: ApiClient,
  request: ImportRequest,
  output: Output,
): Promise<number> {
  const { name } = request;
  const reader = new StreamReader(sourceOf(request.input));
  const head = await reader.head();
  await requireVacant(client, name);
  await removeLeftovers(client, output);
  const temporary = importingName();
  await begin(client, temporary, request, head);
  try {
    await fill(client, temporary, reader, head);
    const { digest, domainId } = await digestOf(client, temporary);
    // What is encrypted with another key is as the frames' checksums say.
    if (domainId === head.domainId && digest !== head.digest)
      throw new CodedError({
        code: "stream-invalid",
        message: "what was imported is not what was exported",
        hint: "export it again; nothing was kept of it",
      });
    await client.call("volume.clone", { name: temporary, clone: name });
  } finally {
    await client.call("volume.delete", { name: temporary });
  }
  const what = { name, sizeBytes: head.sizeBytes, of: `${head.volume}@${head.snapshot}` };
  const text = `imported ${name}, ${formatSize(head.sizeBytes)}, of ${what.of}\n`;
  output.data(output.isJson ? `${JSON.stringify(what)}\n` : text);
  return 0;
}

async function requireVacant(client: ApiClient, name: string): Promise<void> {
  const { volumes } = await client.call("volume.list", {});
  if (volumes.every((volume) => volume.name !== name)) return;
  throw new CodedError({
    code: "volume-exists",
    message: `a volume named ${name} exists already`,
    hint: "choose another name, or delete that volume first",
  });
}

async function begin(
  client: ApiClient,
  temporary: string,
  { base, failuresToTolerate, encrypted, keyDomain }: ImportRequest,
  head: StreamHead,
): Promise<void> {
  if (head.base === undefined) {
    const policy = failuresToTolerate === undefined ? {} : { failuresToTolerate };
    const { sizeBytes } = head;
    const domain = keyDomain === undefined ? {} : { keyDomain };
    const encryption = { ...(encrypted ? { encrypted } : {}), ...domain };
    await client.call("volume.create", { name: temporary, sizeBytes, ...policy, ...encryption });
    return;
  }
  const wanted = `${head.volume}@${head.base.snapshot}`;
  if (base === undefined)
    throw new CodedError({
      code: "import-base-missing",
      message: `the stream has only what changed since ${wanted}`,
      hint: "name a snapshot here that holds the same with --base VOLUME@SNAPSHOT",
    });
  const found = await digestOf(client, base);
  if (found.domainId !== head.domainId)
    throw new CodedError({
      code: "import-base-differs",
      message: `${base} and ${wanted} are not encrypted with the same key and cannot be compared`,
      hint: "export it whole, without --since",
    });
  if (found.digest !== head.base.digest || found.sizeBytes > head.sizeBytes)
    throw new CodedError({
      code: "import-base-differs",
      message: `${base} does not hold what ${wanted} held when it was exported`,
      hint: "import that one first, and take a snapshot of it",
    });
  await client.call("volume.clone", { name: base, clone: temporary });
  if (found.sizeBytes === head.sizeBytes) return;
  await client.call("volume.resize", { name: temporary, sizeBytes: head.sizeBytes });
}

async function fill(
  client: ApiClient,
  name: string,
  reader: StreamReader,
  head: StreamHead,
): Promise<void> {
  const { uri } = await client.call("volume.attach", { name });
  try {
    const nbd = await NbdClient.connect(uri);
    try {
      await writeAll(nbd, reader, head.sizeBytes);
      await nbd.flush();
    } finally {
      nbd.close();
    }
  } finally {
    await client.call("volume.detach", { name });
  }
}

async function writeAll(nbd: NbdClient, reader: StreamReader, sizeBytes: number): Promise<void> {
  const ahead: Promise<void>[] = [];
  for (;;) {
    const part = await reader.next(sizeBytes);
    if (part === undefined) break;
    if (part.kind === "data") ahead.push(nbd.write(part.offset, part.data));
    else {
      const end = part.offset + part.lengthBytes;
      for (let at = part.offset; at < end; at += ZEROES_BYTES_MAX)
        ahead.push(nbd.writeZeroes(at, Math.min(ZEROES_BYTES_MAX, end - at)));
    }
    // Whoever waits for it hears of its failure.
    for (const one of ahead) one.catch(() => {});
    while (ahead.length > WRITES_AHEAD) await ahead.shift();
  }
  await Promise.all(ahead);
}

function sourceOf(file: string | undefined): ByteSource {
  if (file === undefined) return new ByteSource(process.stdin);
  return new ByteSource(createReadStream(resolve(file), { highWaterMark: 1 << 20 }));
}
