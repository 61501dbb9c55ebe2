import assert from "node:assert/strict";
import { test } from "node:test";
import { figure } from "../benchmark.ts";
import { peersSection, peersTable, withMeasured } from "./page.ts";
import type { PeersReport } from "./page.ts";
import { peersSvg } from "./plot.ts";

const ratio = (workload: string, peer: string, values: readonly number[]) =>
  figure({ workload, target: `drystone / ${peer}`, metric: "ratio of IOPS" }, values);

const REPORT: PeersReport = {
  at: "2026-11-27T00:00:00.000Z",
  commit: "abc",
  machine: { cpu: "a", cores: 2, memoryBytes: 2 ** 34, kernel: "6", node: "v20" },
  rounds: 3,
  seconds: 1,
  folders: { disk: "/d", memory: "tmpfs" },
  load: { before: [0.5], after: [1] },
  versions: { nbdkit: "1.32" },
  missing: [{ name: "ceph", why: "ceph-osd not found" }],
  scenes: [
    {
      name: "one-host",
      title: "One host",
      figures: [
        figure({ workload: "w", target: "drystone", metric: "IOPS" }, [1234]),
        figure({ workload: "w", target: "nbdkit", metric: "IOPS" }, [2000]),
        ratio("w", "nbdkit", [0.5, 0.6, 0.9]),
        ratio("x", "nbdkit", [0.2, 0.25, 0.3]),
        ratio("y", "nbdkit", [2, 3, 4]),
      ],
    },
  ],
};

test("every row in which a peer does more is named, the worst first", () => {
  const text = peersTable(REPORT);
  const lost = text.slice(text.indexOf("Where we lose"));
  assert.match(lost, /Ahead in 1 of 3 rows/);
  assert.match(lost, /x: 0\.25 \(0\.20 - 0\.30\) of nbdkit's rate\n- one-host, w: 0\.60/);
  assert.doesNotMatch(lost, /, y:/);
});

test("a row tells both rates, and what was not measured is named", () => {
  const text = peersTable(REPORT);
  assert.match(text, /\| w +\| nbdkit \| 1,230 \/ 2,000 +\| 0\.60 \(0\.50 - 0\.90\)/);
  assert.match(text, /ceph was not measured: ceph-osd not found/);
});

test("only what stands between the marks of a page is replaced", () => {
  const page = "before\n<!-- measured: peers -->\n\nold\n\n<!-- end measured -->\nafter\n";
  const text = withMeasured(page, "peers", peersSection(REPORT));
  assert.match(text, /^before\n<!-- measured: peers -->\n\nCommit abc/);
  assert.match(text, /<!-- end measured -->\nafter\n$/);
  assert.doesNotMatch(text, /old/);
  assert.throws(() => withMeasured("no marks", "peers", ""), /no measured part/);
});

test("a plot has a point for each comparison", () => {
  assert.equal(peersSvg(REPORT.scenes[0]!).match(/<circle/g)?.length, 3);
});
