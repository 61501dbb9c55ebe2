/** Which part of the data path a sample of a profile belongs to. */

export interface Frame {
  readonly functionName: string;
  readonly url: string;
  caller: Frame | undefined;
}

export interface ThreadBudget {
  readonly cpuUs: number;
  readonly shares: readonly (readonly [part: string, weight: number])[];
  readonly allocatedBytes: readonly (readonly [part: string, bytes: number])[];
}

export const NATIVE_THREADS = "threads without JavaScript";
const GARBAGE = "garbage collection";
const REST = "the rest";

/** The first one that fits a file. Those that only pass calls on are not here: see `partOf`. */
const PARTS: readonly (readonly [part: string, files: RegExp])[] = [
  ["NBD", /\/frontend\/nbd\//],
  ["vhost-user", /\/frontend\/(vhost-user|shared-memory)\/|\/platform\/memory\/(event-|memfd-)/],
  ["order and copies of requests", /\/frontend\/volume\/|\/host\/volumes\/(metered|offered)-/],
  ["locks and transactions of the owner", /\/src\/object\//],
  ["links between hosts", /\/src\/(plane|link)\/|\/format\/link-/],
  ["sockets and TLS", /\/platform\/network\/|^node:(net|tls|stream)|\/stream/],
  ["disk requests", /\/platform\/disk\//],
  ["metadata: log and table", /\/platform\/metadata\/(logged|metadata-log|pending|recent)/],
  ["metadata: LMDB", /node_modules\/lmdb\/|\/platform\/metadata\/(lmdb|resident)-/],
  ["checksums and fingerprints", /\/platform\/(native-digests|digest)|\/base\/(crc|sha)/],
  ["journal", /\/store\/(journal|store-component|device-room|component-)|\/format\/journal-/],
  ["cache and reads", /\/src\/cache\/|\/store\/(reader|far-blocks|block-cache|block-fills)/],
  ["destage and maps", /\/src\/(store|format)\//],
];
/** System calls and helpers: what counts is who asked. */
const PASSED_ON =
  /\/platform\/(sys|memory\/(shared-sys|mapped-memory))\.|\/src\/(base|ports)\/(?!crc|sha)/;

export const PART_NAMES: readonly string[] = [
  ...PARTS.map(([part]) => part),
  ...[GARBAGE, REST, NATIVE_THREADS],
];

/** Undefined: nothing was done. */
export function partOf(frame: Frame | undefined): string | undefined {
  if (frame === undefined) return REST;
  const { functionName } = frame;
  if (functionName === "(idle)" || isOfProfiler(frame)) return undefined;
  if (functionName === "(garbage collector)") return GARBAGE;
  for (let one: Frame | undefined = frame; one !== undefined; one = one.caller) {
    if (one.url === "" || PASSED_ON.test(one.url)) continue;
    const { url } = one;
    const found = PARTS.find(([, files]) => files.test(url));
    if (found !== undefined) return found[0];
  }
  return REST;
}

function isOfProfiler(frame: Frame): boolean {
  for (let one: Frame | undefined = frame; one !== undefined; one = one.caller)
    if (one.url.includes("/bench/profile-") || one.url === "node:inspector") return true;
  return false;
}
