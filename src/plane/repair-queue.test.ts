/** Whose turn it is, and where: looks at a cluster as a host sees it at one moment. */
import assert from "node:assert/strict";
import { component, mirror, witness } from "../cluster/index.ts";
import type {
  ClusterSettings,
  ComponentRecord,
  ComponentState,
  DeviceRecord,
  ObjectRecord,
  ServiceRecord,
} from "../cluster/index.ts";
import { test } from "../../test/support/test.ts";
import { isCrowdedOut } from "./rebalance.ts";
import { RepairView } from "./repair-board.ts";
import { turnOf } from "./repair-queue.ts";
import { planService } from "./service-plan.ts";

const MIB = 2 ** 20;
const ACTIVE: ComponentState = { kind: "active" };
const STALE: ComponentState = { kind: "stale", since: 0 };
const SETTINGS: ClusterSettings = {
  repairDelayMs: 0,
  rebuildsAtOnce: 4,
  rebuildsPerDevice: 64,
  offersFingerprints: true,
  scrubDays: 14,
  compareHours: 24,
};

interface Shape {
  readonly hosts: string;
  readonly volumes: readonly ObjectRecord[];
  readonly settings?: Partial<ClusterSettings>;
  /** Of 100 MiB, by host; 50 where nothing is said. */
  readonly freeMib?: Readonly<Record<string, number>>;
  readonly services?: readonly ServiceRecord[];
  /** MiB by component; 1 where nothing is said. */
  readonly storedMib?: Readonly<Record<string, number>>;
}

/** Each host has one device, called as the host. Those in capitals have lost theirs. */
function viewOf(shape: Shape): RepairView {
  const hosts = Array.from(shape.hosts).map((hostId) => ({
    ...{ hostId, name: hostId, faultDomain: hostId },
    ...{ managementAddress: "", storageAddress: "", managementLinkAddress: "" },
  }));
  const devices = hosts.map(({ hostId }): DeviceRecord => ({
    ...{ deviceId: hostId, hostId, path: "/dev/one", incarnation: 1, frame: 0 },
    state: hostId === hostId.toLowerCase() ? "online" : "lost",
    sizeBytes: 100 * MIB,
    freeBytes: (shape.freeMib?.[hostId] ?? 50) * MIB,
  }));
  const ids = shape.volumes.flatMap(({ components }) => components);
  const stored = ids.map(({ componentId, state }): [string, number] => [
    componentId,
    (shape.storedMib?.[componentId] ?? (state.kind === "active" ? 1 : 0)) * MIB,
  ]);
  return new RepairView(
    {
      settings: { ...SETTINGS, ...shape.settings },
      ...{ devices, hosts, services: shape.services ?? [], stored: new Map(stored) },
    },
    new Set(hosts.map(({ hostId }) => hostId)),
    new Map(),
  );
}

/**
 * `on`: the hosts of its components, in order; where two or three are said the last one has a
 * witness. What is on a lost device is stale. The first component of "v" is "v0".
 */
function volume(name: string, on: string, building?: { of: number; on: string }): ObjectRecord {
  const ids = Array.from(on, (_host, i) => `${name}${i}`);
  const legs = ids.slice(0, on.length === 1 ? 1 : -1).map((id) => component(id));
  const components = Array.from(on, (hostId, i): ComponentRecord => ({
    ...{ componentId: ids[i]!, hostId, deviceId: hostId },
    state: hostId === hostId.toLowerCase() ? ACTIVE : STALE,
  }));
  const made = building && {
    ...{ componentId: `${name}-new`, hostId: building.on, deviceId: building.on },
    state: { kind: "building", replaces: ids[building.of]! } as const,
  };
  return {
    ...{ objectId: name, name, sizeBytes: 100 * MIB, epoch: 1, owner: "a" },
    policy: { failuresToTolerate: legs.length - 1, stripes: 1 },
    tree: legs.length === 1 ? legs[0]! : mirror([...legs, witness(ids.at(-1)!)]),
    components: made === undefined ? components : [...components, made],
  };
}

/** Of each component in turn: where it is made now, or why it is not. */
function turns(shape: Shape, componentIds: readonly string[]): readonly string[] {
  const view = viewOf(shape);
  return componentIds.map((id) => {
    const record = shape.volumes.find(({ components }) =>
      components.some(({ componentId }) => componentId === id),
    );
    const turn = turnOf(view, shape.volumes, record!, id);
    return turn.kind === "now" ? turn.place.deviceId : turn.reason;
  });
}

const isPlace = (turn: string): boolean => turn.length === 1;

test("of components that are lost those come first whose volume has the fewest copies left", () => {
  const volumes = [volume("u", "Xabc"), volume("v", "Xab"), volume("w", "Xab")];
  const at = (rebuildsAtOnce: number) =>
    turns({ hosts: "Xabcd", volumes, settings: { rebuildsAtOnce } }, ["u0", "v0", "w0"]);
  assert.deepEqual(at(1).map(isPlace), [false, true, false]);
  assert.deepEqual(at(2).map(isPlace), [false, true, true]);
  assert.deepEqual(at(3).map(isPlace), [true, true, true]);
  assert.equal(at(1)[0], "2 components are made before it");
});

test("what has to leave a device comes after what is lost, whatever copies there are", () => {
  const services = [{ id: "e", kind: "host", mode: "evacuate" }] as const;
  const volumes = [volume("u", "e"), volume("v", "Xabc")];
  const shape = { hosts: "Xabcde", volumes, services, settings: { rebuildsAtOnce: 1 } };
  assert.deepEqual(turns(shape, ["u0", "v0"]).map(isPlace), [false, true]);
});

test("what only makes room comes after what is lost and what has to leave, in one budget", () => {
  const services = [{ id: "e", kind: "host", mode: "evacuate" }] as const;
  const volumes = [volume("u", "f"), volume("v", "Xab"), volume("w", "e"), volume("x", "g")];
  const freeMib = { f: 10, g: 10 };
  const at = (rebuildsAtOnce: number) => {
    const settings = { rebuildsAtOnce };
    return turns({ hosts: "Xabcdefg", volumes, services, freeMib, settings }, [
      ...["u0", "v0", "w0", "x0"],
    ]);
  };
  assert.deepEqual(at(1).map(isPlace), [false, true, false, false]);
  assert.deepEqual(at(2).map(isPlace), [false, true, true, false]);
  assert.deepEqual(at(3).map(isPlace), [true, true, true, false]);
  assert.deepEqual(at(4).map(isPlace), [true, true, true, true]);
});

test("what is being made takes its part of the budget", () => {
  const volumes = [volume("u", "Xab", { of: 0, on: "c" }), volume("v", "Xab")];
  const at = (rebuildsAtOnce: number) =>
    turns({ hosts: "Xabcd", volumes, settings: { rebuildsAtOnce } }, ["v0"]);
  assert.deepEqual(at(1), ["1 components are being made already"]);
  assert.deepEqual(at(2).map(isPlace), [true]);
});

test("a device takes part in so many at a time, whether they are made on it or read from it", () => {
  const settings = { rebuildsPerDevice: 1 };
  const running = volume("u", "Xab", { of: 0, on: "c" });
  const at = (on: string) =>
    turns({ hosts: "Xabcdef", volumes: [running, volume("v", on)], settings }, ["v0"]);
  // "c" has as much room as the others, and is busy.
  assert.deepEqual(at("Xdb"), ["e"]);
  assert.deepEqual(at("Xab"), ["a device that it is read from is busy with others"]);
  assert.deepEqual(at("Xcb"), ["a device that it is read from is busy with others"]);
  const narrow = turns(
    { hosts: "Xabcd", volumes: [running, volume("v", "Xdb")], settings, freeMib: { a: 5, c: 50 } },
    ["v0"],
  );
  assert.deepEqual(narrow, ["every device that could take it is busy with others"]);
});

test("components that begin in the same moment share devices as those do that are being made", () => {
  const volumes = [volume("u", "Xab"), volume("v", "Xab"), volume("w", "Xdb")];
  const settings = { rebuildsPerDevice: 1 };
  const shape = { hosts: "Xabcdef", volumes, settings };
  const [u, v, w] = turns(shape, ["u0", "v0", "w0"]);
  assert.ok(isPlace(u!) && isPlace(w!) && u !== w, `${u} ${w}`);
  assert.equal(v, "a device that it is read from is busy with others");
});

test("what waits for a device is not overtaken there by what comes after it", () => {
  const running = volume("r", "Xab", { of: 0, on: "f" });
  const volumes = [running, volume("u", "Xab"), volume("v", "Xcb")];
  const settings = { rebuildsPerDevice: 1 };
  // "d" has the most room of those that may take "u".
  const shape = { hosts: "Xabcdef", volumes, settings, freeMib: { d: 60 } };
  const busy = "a device that it is read from is busy with others";
  assert.deepEqual(turns(shape, ["u0", "v0"]), [busy, "e"]);
});

test("a place has room for what a component holds, beside what stays free and what is on its way", () => {
  const at = (shape: Partial<Shape>) => {
    const volumes = [volume("v", "Xab"), ...(shape.volumes ?? [])];
    return turns({ hosts: "Xabc", storedMib: { v1: 20 }, ...shape, volumes }, ["v0"])[0]!;
  };
  assert.equal(at({ freeMib: { c: 25 } }), "c");
  assert.match(
    at({ freeMib: { c: 24 } }),
    /^no device may take component v0 of v: it holds 20 MiB/,
  );
  assert.match(
    at({ freeMib: { c: 24 } }),
    /\/dev\/one on c, has 19 MiB beside what has to stay free/,
  );
  assert.match(at({ freeMib: { c: 3 } }), /on c, has 0 B beside/);
  const running = [volume("u", "Xab", { of: 0, on: "c" })];
  assert.equal(at({ freeMib: { c: 26 }, volumes: running }), "c");
  assert.match(at({ freeMib: { c: 25 }, volumes: running }), /take the room that it needs$/);
});

test("what makes room does not crowd the device that it goes to", () => {
  const at = (mib: number) => {
    const volumes = [volume("v", "c")];
    const shape = { hosts: "abc", volumes, freeMib: { a: 40, b: 39, c: 10 } };
    return turns({ ...shape, storedMib: { v0: mib } }, ["v0"])[0]!;
  };
  assert.equal(at(20), "a");
  assert.equal(at(21), "no other device has plenty of room");
});

/** Where each component of a host that is emptied goes, or what else becomes of it. */
function plan(shape: Shape, id: string): Readonly<Record<string, string>> {
  const service = { id, kind: "host", mode: "evacuate" } as const;
  const { components } = planService(viewOf(shape), shape.volumes, service);
  return Object.fromEntries(
    components.map(({ componentId, place, what }) => [componentId, place?.deviceId ?? what]),
  );
}

test("what leaves a host is spread over the others, each taking its room from what is left", () => {
  const volumes = ["s", "t", "u", "v"].map((name) => volume(name, "c"));
  const storedMib = { s0: 20, t0: 20, u0: 20, v0: 20 };
  const shape = { hosts: "abc", volumes, storedMib };
  const even = plan({ ...shape, freeMib: { a: 60, b: 59 } }, "c");
  assert.deepEqual(even, { s0: "a", t0: "b", u0: "a", v0: "b" });
  // 40 MiB beside the 5 that stay free, and 60.
  const uneven = plan({ ...shape, freeMib: { a: 45, b: 65 } }, "c");
  assert.deepEqual(uneven, { s0: "b", t0: "a", u0: "b", v0: "a" });
});

test("what is being made on a device takes its room from a plan, too", () => {
  const running = volume("r", "Xab", { of: 0, on: "d" });
  const volumes = [running, volume("v", "c")];
  const shape = { hosts: "Xabcd", volumes, storedMib: { r1: 15, v0: 1 } };
  assert.equal(plan({ ...shape, freeMib: { a: 40, b: 30, d: 50 } }, "c")["v0"], "a");
});

test("what does not fit is planned where most room is, and what has no domain is stuck", () => {
  const fits = { hosts: "abc", volumes: [volume("v", "c")], storedMib: { v0: 40 } };
  assert.deepEqual(plan({ ...fits, freeMib: { a: 20, b: 30 } }, "c"), { v0: "b" });
  assert.equal(plan({ hosts: "abc", volumes: [volume("v", "abc")] }, "c")["v2"], "stuck");
});

/** Of the components of a shape those that leave their devices for the sake of room. */
function crowded(shape: Shape): readonly string[] {
  const view = viewOf(shape);
  return shape.volumes.flatMap((record) =>
    record.components
      .map(({ componentId }) => componentId)
      .filter((id) => isCrowdedOut(view, shape.volumes, record, id)),
  );
}

test("a host that has joined gets its share of devices that are half full, one component at a time", () => {
  const volumes = ["u", "v", "w"].map((name) => volume(name, "a"));
  const storedMib = { u0: 12, v0: 12, w0: 12 };
  // Of 100 MiB each: who has joined is empty.
  const shape = (a: number, d: number) => ({
    ...{ hosts: "abd", volumes, storedMib },
    freeMib: { a, b: 90, d },
  });
  assert.deepEqual(crowded(shape(45, 100)), ["u0"]);
  assert.deepEqual(turns(shape(45, 100), ["u0"]), ["d"]);
  assert.deepEqual(crowded(shape(65, 90)), [], "devices may differ by a quarter");
  assert.deepEqual(crowded({ ...shape(45, 100), hosts: "abD" }), ["u0"]);
  assert.deepEqual(turns({ ...shape(45, 100), hosts: "abD" }, ["u0"]), ["b"]);
});

test("what is on its way to a host that has joined gets there, and nothing goes back", () => {
  const moving = { of: 0, on: "d" };
  const volumes = [volume("u", "a", moving), volume("v", "a")];
  const shape = { hosts: "ad", volumes, freeMib: { a: 55, d: 76 } };
  const storedMib = { u0: 24, v0: 12, "u-new": 24 };
  assert.deepEqual(crowded({ ...shape, storedMib }), ["u0"]);
  // The component of a host that was away for a moment stays where it is.
  const returned = { ...shape, freeMib: { a: 55, d: 60 }, storedMib: { ...storedMib, "u-new": 2 } };
  assert.deepEqual(crowded(returned), []);
  const moved = [volume("u", "d"), volume("v", "a")];
  assert.deepEqual(crowded({ ...shape, volumes: moved, storedMib }), []);
});

test("a component that would have the other device be the fuller one stays", () => {
  const shape = { hosts: "ad", volumes: [volume("v", "a")], freeMib: { a: 60, d: 100 } };
  assert.deepEqual(crowded({ ...shape, storedMib: { v0: 21 } }), []);
  assert.deepEqual(crowded({ ...shape, storedMib: { v0: 20 } }), ["v0"]);
  assert.deepEqual(crowded({ ...shape, storedMib: { v0: 0 } }), [], "nothing would be evener");
});
