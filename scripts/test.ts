/**
 * Runs the compiled tests with node's own runner: unit tests beside the source first, then
 * `test/e2e`.
 *
 *   npm test -- [--unit | --e2e] [--reporter spec|dot|tap] [PART-OF-PATH ...]
 *
 * Exit code 1 if a test failed, was cancelled, or if none ran.
 */
import { setMaxListeners } from "node:events";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { Readable } from "node:stream";
import { run } from "node:test";
import { dot, spec, tap } from "node:test/reporters";
import { programOptions } from "./program-options.ts";
import { cleanDist } from "./clean-dist.ts";
import { endProcessesWith, markChildren } from "./left-processes.ts";
import { filesBelow, REPOSITORY } from "./repository.ts";
import { planTests, type TestStage } from "./test-plan.ts";
import { TestSummary } from "./test-summary.ts";
import { UnfinishedTests } from "./unfinished-tests.ts";

/**
 * All tests together end by then, so that a hanging machine is told from a slow one; not with those
 * that take long.
 */
const DEADLINE_MS = 19.5 * 60_000;

interface TestEvent {
  readonly type: string;
  readonly data?: unknown;
}

interface EventData {
  readonly name?: string;
  readonly file?: string;
  readonly message?: string;
  readonly nesting?: number;
  readonly details?: { readonly duration_ms?: number };
}

/** Looks at each event as it passes; false if the reporter should not see it. */
function inspect(event: TestEvent, summary: TestSummary, unfinished: UnfinishedTests): boolean {
  const { name = "", file = "", message = "", nesting, details } = (event.data ?? {}) as EventData;
  const isFile = name !== "" && name === file;
  const isOver = event.type === "test:pass" || event.type === "test:fail";
  if (isOver && !isFile && nesting === 0)
    summary.addTime(relative(REPOSITORY, file), details?.duration_ms ?? 0);
  switch (event.type) {
    case "test:diagnostic":
      return !summary.takeDiagnostic(message);
    case "test:dequeue":
      unfinished.started(file, name);
      return true;
    case "test:complete":
      unfinished.completed(file, name);
      return true;
    case "test:pass":
      // A file that registered no test is reported as one passing test with the file's path for a
      // name.
      if (isFile) summary.addEmptyFile(relative(REPOSITORY, file));
      return true;
    case "test:fail":
      for (const test of isFile ? unfinished.of(file) : []) {
        console.log(`${relative(REPOSITORY, file)} was stopped during: ${test}`);
      }
      return true;
    default:
      return true;
  }
}

async function* runStage(
  stage: TestStage,
  summary: TestSummary,
  signal: AbortSignal,
): AsyncGenerator<TestEvent> {
  const unfinished = new UnfinishedTests();
  const stream: Readable = run({
    files: stage.files.map((file) => join(REPOSITORY, file)),
    concurrency: stage.concurrency,
    timeout: stage.timeoutMs,
    signal,
  });
  for await (const event of stream as AsyncIterable<TestEvent>) {
    if (inspect(event, summary, unfinished)) yield event;
  }
}

async function* runStages(
  stages: readonly TestStage[],
  summary: TestSummary,
  deadline: AbortSignal,
): AsyncGenerator<TestEvent> {
  // One listener per file that waits, however many there are.
  setMaxListeners(0, deadline);
  for (const stage of stages) yield* runStage(stage, summary, deadline);
}

function report(events: Readable, reporter: string): Promise<void> {
  return new Promise((resolve, reject) => {
    // `spec` is a stream, the other two are generator functions: `compose` takes either.
    const text =
      reporter === "spec"
        ? events.pipe(new spec())
        : (events.compose(reporter === "tap" ? tap : dot) as Readable);
    text.on("error", reject).on("end", resolve);
    text.pipe(process.stdout, { end: false });
  });
}

async function main(): Promise<void> {
  const { values, positionals } = programOptions("test", import.meta.url, {
    options: {
      unit: { type: "boolean", default: false },
      e2e: { type: "boolean", default: false },
      reporter: { type: "string", default: "spec" },
    },
    allowPositionals: true,
  });
  for (const path of cleanDist(REPOSITORY)) console.log(`removed ${path}: its source is gone`);
  const compiled = filesBelow(join(REPOSITORY, "dist"), ".", (name) => name.endsWith(".test.js"));
  const isLong = process.env["DRYSTONE_LONG"] === "1";
  const both = values.unit === values.e2e;
  const stages = planTests(
    compiled.map((path) => `dist/${path}`),
    {
      stages: both ? ["unit", "e2e"] : values.unit ? ["unit"] : ["e2e"],
      filters: positionals,
      processors: availableParallelism(),
      isLong,
    },
  );
  const mark = markChildren();
  const started = performance.now();
  const summary = new TestSummary();
  const deadline = isLong ? new AbortController().signal : AbortSignal.timeout(DEADLINE_MS);
  await report(Readable.from(runStages(stages, summary, deadline)), values.reporter);
  for (const { pid, command } of endProcessesWith(mark)) {
    console.log(`left behind by a test, ended: ${pid} ${command}`);
  }
  const failure = summary.failure;
  if (failure !== undefined) console.log(`\nnot passed: ${failure}`);
  for (const line of summary.lines(performance.now() - started)) console.log(line);
  process.exitCode = failure === undefined ? 0 : 1;
}

await main();
