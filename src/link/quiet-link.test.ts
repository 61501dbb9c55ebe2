import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import type { Clock } from "../ports/index.ts";
import { NetworkFabric, SimLog, SimMachine, SimNetwork, Simulation } from "../sim/index.ts";
import { Links } from "./links.ts";

const PORT = 7401;
const addressOf = (name: string): string => `10.0.0.${name}`;

async function host(
  fabric: NetworkFabric,
  name: string,
  clockOf: (clock: Clock) => Clock,
): Promise<Links> {
  const machine = new SimMachine(fabric.simulation);
  const network = new SimNetwork(machine, fabric, [addressOf(name)]);
  const clock = clockOf(machine.clock);
  const identity = { clusterId: "c1", hostId: name, incarnation: 1, network: "storage" } as const;
  const links = new Links({ network, clock, log: new SimLog(machine.clock) }, identity);
  const where = (peer: string) => ({ kind: "tcp", host: addressOf(peer), port: PORT }) as const;
  await links.listen(where(name));
  links.setPeers(["a", "b"].map((peer) => ({ hostId: peer, address: where(peer) })));
  return links;
}

test("who hears something all the time does not wake up to look for silence, and finds it as soon", async () => {
  const simulation = new Simulation({ seed: 1 });
  const fabric = new NetworkFabric(simulation);
  const pass = (ms: number): Promise<void> =>
    new Promise((resolve) => void simulation.clock.after(ms, resolve));
  await simulation.run(async () => {
    let wokenCount = 0;
    const a = await host(fabric, "a", (clock) => clock);
    const b = await host(fabric, "b", (clock) => ({
      nowMs: () => clock.nowMs(),
      wallMs: () => clock.wallMs(),
      after: (delayMs, callback) =>
        clock.after(delayMs, () => {
          wokenCount++;
          callback();
        }),
    }));
    await pass(1000);
    assert.ok(a.peer("b")?.isUp === true && b.peer("a")?.isUp === true);
    wokenCount = 0;
    await pass(60_000);
    // It measures every ten seconds how long round trips take.
    assert.ok(wokenCount <= 7, `it woke up ${wokenCount} times`);
    fabric.partition([addressOf("a")], [addressOf("b")]);
    await pass(2100);
    assert.equal(b.peer("a")?.isUp, false);
    assert.match(b.peer("a")?.reason ?? "", /^silent for 200/);
  });
});
