/**
 * Throws what means harm at a part of the product, from seeds, until as many inputs were sent as
 * were asked for.
 *
 *   npm run fuzz -- http --inputs 100000           requests to the API, over raw sockets
 *   npm run fuzz -- nbd --inputs 1000000           conversations of NBD clients
 *   npm run fuzz -- frames --inputs 1000000        bytes on links between hosts, without a host
 *   npm run fuzz -- peer --inputs 1000000          messages of a host that has gone mad
 *   npm run fuzz -- vhost --inputs 1000000         messages and rings of virtual machines
 *   npm run fuzz -- directory --inputs 100000      what hosts say to a directory of another one
 *   npm run fuzz -- peer --seed 17 --inputs 1      the one seed that failed
 *
 * Exit code 1, with the seed, if something threw, hung, or kept memory. The first seeds run in
 * every test.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { programOptions } from "../scripts/program-options.ts";
import { fuzzDirectory } from "../src/cluster/directory.fuzz.ts";
import { fuzzConnection } from "../src/frontend/nbd/connection.fuzz.ts";
import { fuzzSession } from "../src/frontend/vhost-user/vhost-session.fuzz.ts";
import { fuzzHttp } from "../src/host/api/http-api.fuzz.ts";
import { fuzzFrames } from "../src/link/link.fuzz.ts";
import { fuzzPeer } from "../src/plane/peer.fuzz.ts";

const PEER_CONVERSATIONS = 400;
/** Each runs one seed, and tells how many inputs that were. */
const TARGETS: Readonly<Record<string, (seed: number) => Promise<number>>> = {
  directory: fuzzDirectory,
  frames: fuzzFrames,
  http: fuzzHttp,
  nbd: fuzzConnection,
  peer: (seed) => fuzzPeer(seed, PEER_CONVERSATIONS),
  vhost: fuzzSession,
};
const SEED_MAX = 2 ** 32 - 1;
const INPUTS_DEFAULT = 10_000;
/** What a run may need beyond what it had after its first seeds. */
const GROWTH_BYTES_MAX = 512 * 1024 * 1024;
const WARM_UP_SEEDS = 20;
const TELL_MS = 10_000;
const MIB = 1024 * 1024;

interface Options {
  readonly name: string;
  readonly run: (seed: number) => Promise<number>;
  readonly inputs: number;
  readonly seed: number;
}

function optionsOf(args: readonly string[]): Options {
  const { values, positionals } = programOptions("fuzz", import.meta.url, {
    args: [...args],
    allowPositionals: true,
    options: { inputs: { type: "string" }, seed: { type: "string" } },
  });
  const [name = ""] = positionals;
  const run = Object.hasOwn(TARGETS, name) ? TARGETS[name] : undefined;
  if (run === undefined) throw new Error(`say what: ${Object.keys(TARGETS).join(", ")}`);
  const count = (text: string | undefined, otherwise: number): number => {
    const value = Number(text ?? otherwise);
    if (Number.isSafeInteger(value) && value >= 1 && value <= SEED_MAX) return value;
    throw new Error(`${text} is no number from 1 to ${SEED_MAX}`);
  };
  return { name, run, inputs: count(values.inputs, INPUTS_DEFAULT), seed: count(values.seed, 1) };
}

async function fuzz({ name, run, inputs, seed: first }: Options): Promise<void> {
  const startedMs = performance.now();
  let toldMs = startedMs;
  let sent = 0;
  let slowestMs = 0;
  let baseBytes = Number.POSITIVE_INFINITY;
  let seed = first;
  for (; sent < inputs; seed++) {
    const beganMs = performance.now();
    sent += await run(seed).catch((error: unknown) => {
      throw new Error(`${name}: seed ${seed} failed after ${sent} inputs`, { cause: error });
    });
    // What is only weakly held is held until a turn of the event loop ends.
    await nextTurn();
    const nowMs = performance.now();
    slowestMs = Math.max(slowestMs, nowMs - beganMs);
    const { rss } = process.memoryUsage();
    if (seed - first === WARM_UP_SEEDS) baseBytes = rss;
    if (rss - baseBytes > GROWTH_BYTES_MAX)
      throw new Error(`${name}: ${Math.round(rss / MIB)} MiB in use at seed ${seed}`);
    if (nowMs - toldMs < TELL_MS) continue;
    toldMs = nowMs;
    console.log(`  ${sent} inputs, seed ${seed}, ${Math.round(rss / MIB)} MiB`);
  }
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const memory = Math.round(process.memoryUsage().rss / MIB);
  const slowest = Math.round(slowestMs);
  console.log(
    `${name}: ${sent} inputs of seeds ${first} to ${seed - 1} in ${seconds} s; slowest seed ${slowest} ms, ${memory} MiB`,
  );
}

try {
  await fuzz(optionsOf(process.argv.slice(2)));
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
