/** Host failure, isolation, and splits of either network are told apart. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { judgeHosts } from "./host-conditions.ts";
import type { HostCondition, HostSight } from "./host-conditions.ts";

const HOSTS = ["h1", "h2", "h3", "h4", "h5"] as const;

interface Case {
  /** Hosts of one group hear each other; those of none hear nobody. */
  readonly storage?: readonly string[];
  readonly management?: readonly string[];
  /** Processes that are gone. */
  readonly dead?: readonly string[];
  readonly lost?: readonly string[];
  readonly unread?: boolean;
  readonly judge?: string;
}

const WHOLE = ["h1 h2 h3 h4 h5"];

function judged({
  storage = WHOLE,
  management = WHOLE,
  dead = [],
  lost = [],
  unread,
  judge = "h1",
}: Case): readonly HostCondition[] {
  const areIn = (groups: readonly string[], one: string, other: string): boolean =>
    !dead.includes(one) &&
    !dead.includes(other) &&
    groups.some((group) => [one, other].every((host) => group.split(" ").includes(host)));
  const state = (groups: readonly string[], one: string, other: string): "up" | "down" =>
    areIn(groups, one, other) ? "up" : "down";
  const sights = HOSTS.map((host): HostSight => {
    const lease = unread === true ? "unknown" : lost.includes(host) ? "lost" : "held";
    const canBeAsked =
      host === judge || areIn(storage, judge, host) || areIn(management, judge, host);
    if (!canBeAsked) return { host, lease };
    const hears = HOSTS.filter((other) => other !== host).map((other) => ({
      host: other,
      storage: state(storage, host, other),
      management: state(management, host, other),
    }));
    return { host, lease, hears };
  });
  return judgeHosts(sights, judge);
}

const short = (conditions: readonly HostCondition[]): readonly string[] =>
  conditions.map(({ kind, hosts }) => `${kind} ${hosts.join(" ")}`);

test("nothing is the matter while every host hears every other one", () => {
  assert.deepEqual(judged({}), []);
});

test("a host that nobody hears has failed once its lease has ended, and not before", () => {
  assert.deepEqual(short(judged({ dead: ["h3"], lost: ["h3"] })), ["host-failed h3"]);
  const [silent] = judged({ dead: ["h3"] });
  assert.equal(silent?.kind, "host-silent");
  assert.match(silent.message, /its lease still lives/);
  const [unknown] = judged({ dead: ["h3"], unread: true });
  assert.match(unknown?.meaning ?? "", /cannot be told from one that is cut off/);
});

test("a host that is heard in storage alone is isolated, and not failed", () => {
  const [condition, ...others] = judged({ management: ["h1 h2 h4 h5"], lost: ["h3"] });
  assert.deepEqual(others, []);
  assert.equal(condition?.kind, "host-isolated");
  assert.deepEqual(condition.hosts, ["h3"]);
  assert.match(condition.message, /h3 is heard in storage by h1, h2, h4, h5/);
  assert.match(condition.meaning, /started elsewhere/);
  const [holding] = judged({ management: ["h1 h2 h4 h5"] });
  assert.match(holding?.meaning ?? "", /as long as it holds its lease/);
});

test("the isolated host itself says so, on one network and on both", () => {
  const cut = { management: ["h1 h2 h4 h5"], lost: ["h3"], judge: "h3" };
  assert.deepEqual(short(judged(cut)), ["host-isolated h3"]);
  const alone = { storage: ["h1 h2 h4 h5"], management: ["h1 h2 h4 h5"] };
  assert.deepEqual(short(judged({ ...alone, unread: true, judge: "h3" })), ["host-isolated h3"]);
  // To the others it is as one that has failed.
  assert.deepEqual(short(judged({ ...alone, lost: ["h3"] })), ["host-failed h3"]);
});

test("a host that hears nobody and holds its lease is not the one that is cut off", () => {
  const dead = ["h2", "h3", "h4", "h5"];
  assert.deepEqual(
    short(judged({ dead, lost: dead })),
    dead.map((host) => `host-failed ${host}`),
  );
});

test("a split of the management network has sides, and no host is called failed", () => {
  const split = judged({ management: ["h1 h2", "h3 h4 h5"], lost: ["h1", "h2"] });
  assert.deepEqual(short(split), ["management-partition h1 h2 h3 h4 h5"]);
  assert.match(split[0]?.message ?? "", /split: h1, h2 \| h3, h4, h5/);
  assert.match(split[0]?.action ?? "", /management network/);
  const nobody = judged({ management: [] });
  assert.deepEqual(short(nobody), ["management-partition h1 h2 h3 h4 h5"]);
});

test("a split of the storage network has sides, and no host is called failed or isolated", () => {
  for (const judge of ["h1", "h4"]) {
    const split = judged({ storage: ["h1 h2", "h3 h4 h5"], judge });
    assert.deepEqual(short(split), ["storage-partition h1 h2 h3 h4 h5"]);
    assert.match(split[0]?.message ?? "", /storage network is split: h1, h2 \| h3, h4, h5/);
  }
  const [one] = judged({ storage: ["h1 h2 h3 h5"] });
  assert.match(one?.message ?? "", /split: h1, h2, h3, h5 \| h4/);
});

test("what happens at the same time is told side by side", () => {
  const both = judged({ storage: ["h1 h2", "h3 h4 h5"], dead: ["h5"], lost: ["h5"] });
  assert.deepEqual(short(both), ["host-failed h5", "storage-partition h1 h2 h3 h4"]);
  const cut = judged({ storage: ["h1 h2", "h3 h4 h5"], management: ["h1 h3 h4 h5"] });
  assert.deepEqual(short(cut), ["host-isolated h2", "storage-partition h1 h2 h3 h4 h5"]);
});

test("two hosts that do not hear each other, while others hear both, are named", () => {
  const broken = judged({ storage: ["h1 h2 h4 h5", "h1 h3 h4 h5"] });
  assert.deepEqual(short(broken), ["storage-partition h2 h3"]);
  assert.match(broken[0]?.message ?? "", /h2 and h3 do not hear each other over the storage/);
});

test("where there is one network alone, a host is heard on it or not", () => {
  const sights: readonly HostSight[] = [
    { host: "a", lease: "held", hears: [{ host: "b", storage: "down" }] },
    { host: "b", lease: "lost" },
  ];
  assert.deepEqual(short(judgeHosts(sights, "a")), ["host-failed b"]);
  assert.deepEqual(judgeHosts(sights.slice(0, 1), "a"), []);
});
