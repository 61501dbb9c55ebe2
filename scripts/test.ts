/**
 * Runs the compiled tests with node's own runner: unit tests beside the source first, then
 * `test/e2e`.
 *
 *   node dist/scripts/test.js [--unit | --e2e] [--reporter spec|dot|tap] [PART-OF-PATH ...]
 *
 * Exit code 1 if a test failed, was cancelled, or if none ran.
 */
import { availableParallelism } from "node:os";
import { isAbsolute, join, relative } from "node:path";
import { Readable } from "node:stream";
import { run } from "node:test";
import { dot, spec, tap } from "node:test/reporters";
import { parseArgs } from "node:util";
import { cleanDist } from "./clean-dist.ts";
import { filesBelow, REPOSITORY } from "./repository.ts";
import { planTests, type TestStage } from "./test-plan.ts";
import { TestSummary } from "./test-summary.ts";

interface TestEvent {
  readonly type: string;
  readonly data?: unknown;
}

interface EventData {
  readonly name?: string;
  readonly nesting?: number;
  readonly message?: string;
}

function isEmptyFile(event: TestEvent, data: EventData): boolean {
  // The runner reports a file that registered no test as one passing test with the file's path for
  // a name.
  return event.type === "test:pass" && data.nesting === 0 && isAbsolute(data.name ?? "");
}

async function* runStage(stage: TestStage, summary: TestSummary): AsyncGenerator<TestEvent> {
  const stream: Readable = run({
    files: stage.files.map((file) => join(REPOSITORY, file)),
    concurrency: stage.concurrency,
    timeout: stage.timeoutMs,
  });
  for await (const event of stream as AsyncIterable<TestEvent>) {
    const data = (event.data ?? {}) as EventData;
    if (event.type === "test:diagnostic" && summary.takeDiagnostic(data.message ?? "")) continue;
    if (isEmptyFile(event, data)) summary.addEmptyFile(relative(REPOSITORY, data.name ?? ""));
    yield event;
  }
}

async function* runStages(
  stages: readonly TestStage[],
  summary: TestSummary,
): AsyncGenerator<TestEvent> {
  for (const stage of stages) yield* runStage(stage, summary);
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
  const { values, positionals } = parseArgs({
    options: {
      unit: { type: "boolean", default: false },
      e2e: { type: "boolean", default: false },
      reporter: { type: "string", default: "spec" },
    },
    allowPositionals: true,
  });
  for (const path of cleanDist(REPOSITORY)) console.log(`removed ${path}: its source is gone`);
  const compiled = filesBelow(join(REPOSITORY, "dist"), ".", (name) => name.endsWith(".test.js"));
  const both = values.unit === values.e2e;
  const stages = planTests(
    compiled.map((path) => `dist/${path}`),
    {
      stages: both ? ["unit", "e2e"] : values.unit ? ["unit"] : ["e2e"],
      filters: positionals,
      processors: availableParallelism(),
    },
  );
  const started = performance.now();
  const summary = new TestSummary();
  await report(Readable.from(runStages(stages, summary)), values.reporter);
  const failure = summary.failure;
  if (failure !== undefined) console.log(`\nnot passed: ${failure}`);
  for (const line of summary.lines(performance.now() - started)) console.log(line);
  process.exitCode = failure === undefined ? 0 : 1;
}

await main();
