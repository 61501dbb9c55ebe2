/**
 * Loaded into every thread of the processes that `bench -- budget` measures (`node --import`):
 * where the thread's processor time goes and what it allocates, from the file START in
 * DRYSTONE_PROFILE_DIR to the file STOP there. Shares come from samples, the time itself from the
 * kernel, so that what other processes take of the machine is not counted.
 */
import * as fs from "node:fs";
import { Session } from "node:inspector";
import type { HeapProfiler, Profiler, Runtime } from "node:inspector";
import * as path from "node:path";
import { threadId } from "node:worker_threads";
import { moduleAt } from "./bundled-modules.ts";
import { partOf } from "./profile-parts.ts";
import type { Frame, ThreadBudget } from "./profile-parts.ts";

const LOOK_MS = 50;
/** Often enough for some seconds, and seldom enough to leave the processor to who is measured. */
const SAMPLE_US = 1000;
const SAMPLE_BYTES = 65_536;

function cpuUs(): number {
  return Number(fs.readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[0]) / 1000;
}

function frameOf({ functionName, url, lineNumber }: Runtime.CallFrame): Omit<Frame, "caller"> {
  return { functionName, url: moduleAt(url, lineNumber) };
}

/** By part of the program, from samples in proportion to `weights`. */
function shares(profile: Profiler.Profile): Map<string, number> {
  const frames = new Map<number, Frame>();
  for (const { id, callFrame } of profile.nodes)
    frames.set(id, { ...frameOf(callFrame), caller: undefined });
  for (const { id, children } of profile.nodes)
    for (const child of children ?? []) frames.get(child)!.caller = frames.get(id);
  const found = new Map<string, number>();
  for (const [i, id] of (profile.samples ?? []).entries()) {
    const part = partOf(frames.get(id));
    const weight = profile.timeDeltas?.[i] ?? 0;
    if (part !== undefined) found.set(part, (found.get(part) ?? 0) + weight);
  }
  return found;
}

function allocations(node: HeapProfiler.SamplingHeapProfileNode): Map<string, number> {
  const found = new Map<string, number>();
  const visit = (
    { callFrame, selfSize, children }: HeapProfiler.SamplingHeapProfileNode,
    caller: Frame | undefined,
  ): void => {
    const frame = { ...frameOf(callFrame), caller };
    const part = selfSize === 0 ? undefined : partOf(frame);
    if (part !== undefined) found.set(part, (found.get(part) ?? 0) + selfSize);
    for (const child of children) visit(child, frame);
  };
  visit(node, undefined);
  return found;
}

function watch(folder: string): void {
  const session = new Session();
  session.connect();
  const file = path.join(folder, `${process.pid}-${threadId}`);
  let isRunning = false;
  let cpuBefore = 0;
  fs.writeFileSync(`${file}.here`, "");
  const timer = setInterval(() => {
    if (!isRunning && fs.existsSync(path.join(folder, "START"))) {
      isRunning = true;
      session.post("Profiler.enable");
      session.post("Profiler.setSamplingInterval", { interval: SAMPLE_US });
      session.post("Profiler.start");
      session.post("HeapProfiler.startSampling", {
        ...{ samplingInterval: SAMPLE_BYTES, includeObjectsCollectedByMajorGC: true },
        includeObjectsCollectedByMinorGC: true,
      });
      cpuBefore = cpuUs();
      fs.writeFileSync(`${file}.begun`, "");
    } else if (isRunning && fs.existsSync(path.join(folder, "STOP"))) {
      isRunning = false;
      finish(session, file, cpuUs() - cpuBefore);
    }
  }, LOOK_MS);
  timer.unref();
}

function finish(session: Session, file: string, usedUs: number): void {
  session.post("Profiler.stop", (_, { profile }) => {
    session.post("HeapProfiler.stopSampling", (_error, { profile: heap }) => {
      const budget: ThreadBudget = {
        cpuUs: usedUs,
        shares: [...shares(profile)],
        allocatedBytes: [...allocations(heap.head)],
      };
      fs.writeFileSync(`${file}.part`, JSON.stringify(budget));
      fs.renameSync(`${file}.part`, `${file}.json`);
    });
  });
}

const folder = process.env["DRYSTONE_PROFILE_DIR"];
if (folder !== undefined) watch(folder);
