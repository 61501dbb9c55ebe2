import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import type { Clock, Timer } from "../../ports/index.ts";
import { KnownVolumes } from "./known-volumes.ts";
import type { VolumeView } from "../api/views.ts";

function volume(name: string): VolumeView {
  return {
    ...{ name, objectId: name, sizeBytes: 1, failuresToTolerate: 0, stripes: 1 },
    ...{ accessible: true, epoch: 1, tree: { kind: "component" }, components: [] },
  };
}

const AWAY = new CodedError({ code: "directory-unavailable", message: "it is away", hint: "wait" });
const MISSING = new CodedError({ code: "volume-not-found", message: "no such", hint: "list" });

class World {
  nowMs = 1000;
  /** As the data plane answers now. */
  answer: (name?: string) => Promise<unknown> = async () => [];
  readonly #timers: (() => void)[] = [];
  readonly volumes: KnownVolumes;

  constructor() {
    const after = (_delayMs: number, due: () => void): Timer => {
      this.#timers.push(due);
      return { cancel: () => {} };
    };
    const clock: Clock = { nowMs: () => this.nowMs, wallMs: () => this.nowMs, after };
    const call = (_method: string, name: string): Promise<never> =>
      this.answer(name) as Promise<never>;
    this.volumes = new KnownVolumes({ call: call as never }, clock);
  }

  losePatience(): void {
    for (const due of this.#timers.splice(0)) due();
  }

  has(...names: readonly string[]): void {
    this.answer = async (name) => (name === undefined ? names.map(volume) : volume(name));
  }

  async names(): Promise<readonly string[]> {
    return (await this.volumes.list()).volumes.map(({ name }) => name);
  }
}

test("what the directory tells is from now, and has no age", async () => {
  const world = new World();
  world.has("a", "b");
  assert.deepEqual(await world.volumes.list(), { volumes: [volume("a"), volume("b")] });
  assert.deepEqual(await world.volumes.show("a"), volume("a"));
});

test("while the directory is away, volumes are told as they were, with their age", async () => {
  const world = new World();
  world.has("a");
  await world.volumes.list();
  world.nowMs += 12_000;
  world.answer = () => Promise.reject(AWAY);
  const ageMs = 12_000;
  assert.deepEqual(await world.volumes.list(), { volumes: [volume("a")], ageMs });
  assert.deepEqual(await world.volumes.show("a"), { ...volume("a"), ageMs });
  await assert.rejects(world.volumes.show("b"), AWAY);
});

test("a directory that never answered here is told as it is", async () => {
  const world = new World();
  world.answer = () => Promise.reject(AWAY);
  await assert.rejects(world.volumes.list(), AWAY);
});

test("other faults than the directory's are not hidden by what was known", async () => {
  const world = new World();
  world.has("a");
  await world.volumes.list();
  world.answer = () => Promise.reject(MISSING);
  await assert.rejects(world.volumes.show("a"), MISSING);
});

test("nobody waits until a directory that does not answer is given up", async () => {
  const world = new World();
  world.has("a");
  await world.volumes.list();
  world.answer = () => new Promise(() => {});
  const listed = world.volumes.list();
  world.losePatience();
  assert.deepEqual(await listed, { volumes: [volume("a")], ageMs: 0 });
});

test("what was changed through this host is known, whatever was on its way", async () => {
  const world = new World();
  world.has("a", "c");
  await world.volumes.list();
  let answerLate: (volumes: readonly VolumeView[]) => void = () => {};
  world.answer = () => new Promise((resolve) => (answerLate = resolve));
  const late = world.volumes.list();
  world.volumes.changed(volume("b"));
  world.volumes.deleted("a");
  answerLate([volume("a"), volume("c")]);
  await late;
  world.answer = () => Promise.reject(AWAY);
  assert.deepEqual(await world.names(), ["b", "c"]);
});
