/**
 * Runs one fio job against an NBD address and returns the numbers that tests and benchmarks use.
 */
import { runTool } from "./process.ts";

export interface FioDirection {
  readonly total_ios: number;
  readonly iops: number;
  readonly bw_bytes: number;
  readonly clat_ns: {
    readonly mean: number;
    readonly percentile?: Readonly<Record<string, number>>;
  };
}

export interface FioJob {
  readonly error: number;
  readonly read: FioDirection;
  readonly write: FioDirection;
  readonly usr_cpu: number;
  readonly sys_cpu: number;
}

export interface FioOptions {
  /** An NBD address; or arguments that say what else to load, with the environment they need. */
  readonly uri: string | { readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv };
  readonly args: readonly string[];
  readonly timeoutMs: number;
}

/** Throws, with fio's messages, if fio fails. */
export async function fio(options: FioOptions): Promise<FioJob> {
  const { uri, timeoutMs } = options;
  const isNbd = typeof uri === "string";
  const target = isNbd ? ["--ioengine=nbd", `--uri=${uri}`] : uri.args;
  const args = ["--name=job", ...target, ...options.args];
  const output = ["--output-format=json", "--group_reporting", "--verify_state_save=0"];
  const run = await runTool("fio", [...args, ...output], {
    timeoutMs,
    ...(isNbd ? {} : { env: uri.env }),
  });
  // fio puts warnings in front of its JSON.
  const json = run.stdout.slice(run.stdout.search(/^\{/m));
  const report = JSON.parse(json) as { readonly jobs: readonly FioJob[] };
  const job = report.jobs[0];
  if (job === undefined) throw new Error(`fio reported no job:\n${run.stdout}`);
  return job;
}
