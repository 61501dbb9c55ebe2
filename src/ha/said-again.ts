/**
 * What is said of a machine again and again, such as that it waits: two reasons that take turns
 * would push everything else out of its history, which is the evidence of what has become of it.
 */
import { decided } from "../cluster/index.ts";
import type { VmDecision, VmRecord } from "../cluster/index.ts";

/** Among so many of the newest entries it is looked for. */
const RECENT_MAX = 8;
/** So seldom it is written again although something else was said meanwhile. */
const AGAIN_MS = 600_000;
const COUNT_PATTERN = / \(said (\d+) times\)$/;

interface Said {
  /** In the history. */
  readonly index: number;
  readonly count: number;
}

/** Whether that needs not be written: it was said last, or lately. `wallMs`: now. */
export function isSaid(
  { history }: VmRecord,
  what: string,
  because: string,
  wallMs: number,
): boolean {
  const said = lastSaid(history, what, because);
  if (said === undefined) return false;
  const isLast = said.index === history.length - 1;
  return isLast || Math.abs(wallMs - history[said.index]!.timeMs) < AGAIN_MS;
}

/** As `decided`, but in place of the same entry if there is one, with how often it was said. */
export function decidedAgain(vm: VmRecord, decision: VmDecision): VmRecord {
  const said = lastSaid(vm.history, decision.what, decision.because);
  if (said === undefined) return decided(vm, decision);
  const history = vm.history.toSpliced(said.index, 1);
  const because = `${decision.because} (said ${said.count + 1} times)`;
  return decided({ ...vm, history }, { ...decision, because });
}

function lastSaid(history: readonly VmDecision[], what: string, because: string): Said | undefined {
  const index = history.findLastIndex(
    (one) => one.what === what && one.because.replace(COUNT_PATTERN, "") === because,
  );
  if (index < 0 || index < history.length - RECENT_MAX) return undefined;
  const count = Number(COUNT_PATTERN.exec(history[index]!.because)?.[1] ?? 1);
  return { index, count };
}
