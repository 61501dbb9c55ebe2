import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import type { ByteStream, ByteStreamHandler, NetworkAddress } from "../ports/index.ts";
import { NetworkFabric, SimMachine, SimNetwork, Simulation } from "./index.ts";

const SERVER: NetworkAddress = { kind: "tcp", host: "10.1.0.2", port: 7000 };

class Record implements ByteStreamHandler {
  readonly bytes: number[] = [];
  pieces = 0;
  hasEnded = false;
  readonly closings: (string | undefined)[] = [];

  data(bytes: Uint8Array): void {
    this.bytes.push(...bytes);
    this.pieces++;
  }
  written(): void {}
  drained(): void {}
  ended(): void {
    this.hasEnded = true;
  }
  closed(reason: string | undefined): void {
    this.closings.push(reason);
  }
}

interface Scene {
  simulation: Simulation;
  fabric: NetworkFabric;
  machines: [SimMachine, SimMachine];
  networks: [SimNetwork, SimNetwork];
}

function scene(seed = 1): Scene {
  const simulation = new Simulation({ seed });
  const fabric = new NetworkFabric(simulation);
  const machines: [SimMachine, SimMachine] = [
    new SimMachine(simulation),
    new SimMachine(simulation),
  ];
  const networks: [SimNetwork, SimNetwork] = [
    new SimNetwork(machines[0], fabric, ["10.1.0.1", "10.2.0.1"]),
    new SimNetwork(machines[1], fabric, ["10.1.0.2", "10.2.0.2"]),
  ];
  return { simulation, fabric, machines, networks };
}

interface Connection {
  near: ByteStream;
  far: ByteStream;
  atNear: Record;
  atFar: Record;
}

async function connected({ simulation, networks }: Scene): Promise<Connection> {
  const accepted: ByteStream[] = [];
  await simulation.run(networks[1].listen(SERVER, (stream) => accepted.push(stream)));
  const near = await simulation.run(networks[0].connect(SERVER));
  await simulation.runUntilIdle();
  const far = accepted[0]!;
  const atNear = new Record();
  const atFar = new Record();
  near.start(atNear);
  far.start(atFar);
  return { near, far, atNear, atFar };
}

test("a cut path holds bytes back in its direction only, until it heals", async () => {
  const world = scene();
  const { near, far, atNear, atFar } = await connected(world);
  world.fabric.block("10.1.0.1", "10.1.0.2");
  near.write(new Uint8Array([1, 2, 3]), 1);
  far.write(new Uint8Array([9]), 1);
  await world.simulation.runForMs(60_000);
  assert.deepEqual(atFar.bytes, []);
  assert.deepEqual(atNear.bytes, [9]);
  world.fabric.heal();
  await world.simulation.runForMs(10);
  assert.deepEqual(atFar.bytes, [1, 2, 3]);
});

test("two networks are cut one without the other", async () => {
  const world = scene();
  const { simulation, fabric, networks } = world;
  await connected(world);
  const second: NetworkAddress = { kind: "tcp", host: "10.2.0.2", port: 7000 };
  await simulation.run(networks[1].listen(second, () => {}));
  fabric.partition(["10.1.0.1"], ["10.1.0.2"]);
  await assert.rejects(simulation.run(networks[0].connect(SERVER)), { code: "connection-timeout" });
  const stream = await simulation.run(networks[0].connect(second));
  assert.equal(stream.remote, "10.2.0.2");
});

test("a machine without power is silent, and after its return old streams are reset", async () => {
  const world = scene();
  const { simulation, fabric, machines, networks } = world;
  const { near, atNear } = await connected(world);
  machines[1].cutPower({ kind: "none" });
  near.write(new Uint8Array([1]), 1);
  await simulation.runForMs(60_000);
  assert.deepEqual(atNear.closings, []);
  await assert.rejects(simulation.run(networks[0].connect(SERVER)), { code: "connection-timeout" });
  void new SimNetwork(new SimMachine(simulation), fabric, ["10.1.0.2", "10.2.0.2"]);
  await assert.rejects(simulation.run(networks[0].connect(SERVER)), { code: "connection-refused" });
  near.write(new Uint8Array([1]), 2);
  await simulation.runForMs(10);
  assert.deepEqual(atNear.closings, ["connection reset"]);
});

test("a killed process resets its streams and frees its addresses", async () => {
  const world = scene();
  const { simulation, machines, networks } = world;
  const { atNear, atFar } = await connected(world);
  networks[1].kill();
  machines[1].cutPower({ kind: "all" });
  await simulation.runForMs(10);
  assert.deepEqual(atNear.closings, ["connection reset"]);
  assert.deepEqual(atFar.closings, []);
});

test("the fabric resets streams between two addresses, at both ends", async () => {
  const world = scene();
  const { atNear, atFar } = await connected(world);
  world.fabric.resetStreams("10.1.0.2", "10.1.0.1");
  await world.simulation.runUntilIdle();
  assert.deepEqual([atNear.closings, atFar.closings], [["connection reset"], ["connection reset"]]);
});

test("bytes arrive in other pieces than they were written in, as the seed has it", async () => {
  const pieces = async (seed: number): Promise<number> => {
    const world = scene(seed);
    const { near, atFar } = await connected(world);
    for (let i = 0; i < 200; i++) near.write(new Uint8Array(100).fill(i), -1);
    await world.simulation.runUntilIdle();
    assert.equal(atFar.bytes.length, 20_000);
    return atFar.pieces;
  };
  const counts = [await pieces(1), await pieces(2), await pieces(3)];
  assert.ok(counts.some((count) => count !== 200));
  assert.equal(await pieces(1), counts[0]);
});

test("bytes that change before they were written are found out", async () => {
  const world = scene();
  const { near } = await connected(world);
  const bytes = new Uint8Array(10);
  near.write(bytes, 1);
  bytes[3] = 1;
  await assert.rejects(world.simulation.runUntilIdle(), /changed before they were written/);
});
