/** What operators are told and may do about machines, on hosts that look after them. */
import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import { createVm, directoryKeys } from "../../cluster/index.ts";
import { CLUSTER, cluster, FAILOVER_MS_MAX, running, vm } from "../../../test/support/vm-world.ts";
import type { World } from "../../../test/support/vm-world.ts";
import { haHandlers } from "./ha-control.ts";
import { vmHandlers } from "./vm-control.ts";
import type { VmControlWorld } from "./vm-control.ts";

const GIB = 2 ** 30;

function controlled({ directory, simulation, hosts }: World, forget = async (_name: string) => {}) {
  const control: VmControlWorld = {
    directory,
    clock: simulation.clock,
    clusterId: CLUSTER,
    hostId: "h1",
    hostNames: async () => new Map(hosts.map(({ id }) => [id, id.toUpperCase()])),
    forget,
    checkVolume: async () => {},
    checkBootFile: (file) => {
      if (!file.startsWith("/boot/"))
        throw new CodedError({ code: "boot-file-refused", message: file });
    },
  };
  return { ...vmHandlers(control), ...haHandlers(control) };
}

test("a deleted machine's home is looked for again once nobody can have it made any more", async () => {
  await cluster(69, async (world) => {
    const forgotten: string[] = [];
    const answers = controlled(world, async (name) => {
      const record = await world.directory.get(directoryKeys.vm(CLUSTER, name));
      forgotten.push(record === undefined ? "without a record" : "with one");
    });
    await answers["vm.create"]({ name: "a", volumes: ["a"] });
    await answers["vm.delete"]({ name: "a" });
    assert.deepEqual(forgotten.slice(0, 1), ["with one"]);
    assert.deepEqual(forgotten.slice(-1), ["without a record"]);
  });
});

test("of a start and a deletion at the same time one is refused, and the other one is whole", async () => {
  await cluster(74, async (world) => {
    let during = async (): Promise<void> => {};
    const forgotten: string[] = [];
    const answers = controlled(world, async (name) => {
      await during();
      forgotten.push(name);
    });
    await answers["vm.create"]({ name: "a", volumes: ["a"] });
    await world.until(async () => (await answers["vm.show"]({ name: "a" })).isProtected, 10_000);
    during = async () => {
      during = async () => {};
      const refused = { code: "vm-contended", message: /is being deleted/ };
      await assert.rejects(answers["vm.start"]({ name: "a" }), refused);
      throw new CodedError({ code: "object-inaccessible", message: "its home is not reached" });
    };
    await assert.rejects(answers["vm.delete"]({ name: "a" }), { code: "object-inaccessible" });
    // What is left of its home nobody knows: it is made anew.
    assert.equal((await answers["vm.show"]({ name: "a" })).protection, "pending");
    await answers["vm.start"]({ name: "a" });
    await assert.rejects(answers["vm.delete"]({ name: "a" }), { code: "vm-running" });
    assert.deepEqual(forgotten, [], "its home is left alone");
    await world.until(async () => (await answers["vm.show"]({ name: "a" })).isProtected, 10_000);
    await answers["vm.kill"]({ name: "a" });
    await world.until(() => world.whereIs("a") === undefined, 10_000);
    await world.until(
      async () => (await answers["vm.show"]({ name: "a" })).state === "stopped",
      10_000,
    );
    await answers["vm.delete"]({ name: "a" });
    await assert.rejects(answers["vm.show"]({ name: "a" }), { code: "vm-not-found" });
  });
});

test("a volume is a disk of one machine, also where older records say otherwise", async () => {
  await cluster(73, async (world) => {
    const answers = controlled(world);
    await answers["vm.create"]({ name: "m1", volumes: ["boot", "data"] });
    const shared = answers["vm.create"]({ name: "m2", volumes: ["other", "data"] });
    await assert.rejects(shared, { code: "volume-of-vm", message: /data is a disk of .* m1$/ });
    await assert.rejects(answers["vm.show"]({ name: "m2" }), { code: "vm-not-found" });
    await createVm(world.directory, CLUSTER, {
      ...vm("m2"),
      volumes: ["data"],
      desired: "stopped",
    });
    await answers["vm.start"]({ name: "m1" });
    await assert.rejects(answers["vm.start"]({ name: "m2" }), { code: "volume-of-vm" });
    await answers["vm.start"]({ name: "m1" });
  });
});

test("of machines that are made at the same time with one volume the first one has it", async () => {
  for (let seed = 1; seed <= 5; seed++)
    await cluster(seed, async (world) => {
      const answers = controlled(world);
      const make = (name: string, volume: string) =>
        answers["vm.create"]({ name, volumes: [volume] });
      const names = ["m1", "m2", "m3", "m4"];
      const shared = await Promise.allSettled(names.map((name) => make(name, "data")));
      const refused = shared.filter(({ status }) => status === "rejected");
      assert.equal(refused.length, names.length - 1);
      for (const one of refused)
        assert.match(String((one as PromiseRejectedResult).reason), /data is a disk of .* m\d/);
      const others = ["n1", "n2", "n3", "n4"];
      await Promise.all(others.map((name) => make(name, name)));
      const [one, other] = await Promise.allSettled([make("same", "x"), make("same", "y")]);
      const lost = [one, other].find(({ status }) => status === "rejected");
      assert.match(String((lost as PromiseRejectedResult).reason), /machine named same already/);
      assert.equal((await answers["vm.list"]({})).vms.length, 6);
    });
});

test("a machine is not given files from elsewhere, neither when it is made nor later", async () => {
  await cluster(71, async (world) => {
    const answers = controlled(world);
    const [key, kernel] = ["/var/lib/drystone/state/cluster.key", "/boot/vmlinuz"];
    for (const boot of [{ kernel: key }, { kernel, initrd: key }, { firmware: key }]) {
      const made = answers["vm.create"]({ name: "b", volumes: ["a"], ...boot });
      await assert.rejects(made, { code: "boot-file-refused" });
    }
    await answers["vm.create"]({ name: "b", volumes: ["a"], kernel, initrd: "/boot/initrd" });
    const set = answers["vm.set"]({ name: "b", firmware: key });
    await assert.rejects(set, { code: "boot-file-refused" });
    await answers["vm.set"]({ name: "b", firmware: "none" });
  });
});

test("why a machine is where it is, is told with all that the master went by", async () => {
  await cluster(70, async (world) => {
    const answers = controlled(world);
    const first = await running(world, "a");
    first.cutPower();
    await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
    await world.pass(3000);
    const { vm: shown, master, places } = await answers["vm.why"]({ name: "a" });
    const said = shown.history.map(({ what, because }) => `${what}: ${because}`).join("\n");
    const now = world.whereIs("a")!;
    assert.match(said, new RegExp(`placed on ${first.id}: it should run and has no host; of 3 `));
    assert.match(said, /protected: /);
    assert.match(said, new RegExp(`placed on ${now}: the lease of host ${first.id} has ended`));
    assert.match(said, /started: placement 2/);
    const office = await world.directory.get(directoryKeys.vmMaster(CLUSTER));
    assert.equal(master, office?.value.toUpperCase());
    const dead = places.filter(({ isAlive }) => !isAlive);
    assert.deepEqual(
      dead.map(({ host, reason }) => [host, reason]),
      [[first.id.toUpperCase(), "it has not said yet what it reaches"]],
    );
    const well = places.filter(({ isAlive }) => isAlive);
    assert.ok(well.length === 2 && well.every(({ isAccessible }) => isAccessible));
    assert.ok(well.every(({ reaches }) => reaches.length > 0));
  });
});

test("while it is disarmed nothing moves, and it is armed only when every host with machines is heard", async () => {
  await cluster(71, async (world) => {
    const answers = controlled(world);
    const first = await running(world, "a");
    assert.equal((await answers["ha.disarm"]({})).isArmed, false);
    await world.pass(2000);
    first.cutPower();
    await world.pass(60_000);
    assert.equal(world.whereIs("a"), undefined, "nobody starts it elsewhere");
    const message = new RegExp(`^${first.id.toUpperCase()} cannot be heard, and may run machines`);
    await assert.rejects(answers["ha.arm"]({}), { code: "ha-hosts-unheard", message });
    first.start();
    await world.until(() => world.whereIs("a") === first.id, FAILOVER_MS_MAX);
    assert.equal((await answers["ha.arm"]({})).isArmed, true);
    first.cutPower();
    await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
  });
});

test("a start that leaves too little room for failures is refused, or told of, as was chosen", async () => {
  await cluster(72, async (world) => {
    const answers = controlled(world);
    await running(world, "a");
    await world.pass(2000);
    for (const name of ["big1", "big2", "big3"])
      await answers["vm.create"]({ name, volumes: [name], memoryBytes: 12 * GIB });
    await answers["ha.set"]({ toleratedHosts: 1, admission: "refuse" });
    for (const name of ["big1", "big2"]) await answers["vm.start"]({ name });
    assert.equal((await answers["ha.show"]({})).problem, undefined);
    const code = "admission-refused";
    const own = /^big3 is not started: if H\d of 3 hosts failed, big\d .*12 GiB.* left: H/;
    await assert.rejects(answers["vm.start"]({ name: "big3" }), { code, message: own });
    await answers["vm.unprotect"]({ name: "big3" });
    const taken = /^big3 is not started: if H\d of 3 hosts failed, big[12] would have no place/;
    await assert.rejects(answers["vm.start"]({ name: "big3" }), { code, message: taken });
    // It takes nothing that is kept for others.
    await answers["vm.create"]({ name: "small", volumes: ["s"], memoryBytes: GIB });
    await answers["vm.unprotect"]({ name: "small" });
    await answers["vm.start"]({ name: "small" });
    await answers["vm.protect"]({ name: "big3" });
    await answers["ha.set"]({ admission: "warn" });
    await answers["vm.start"]({ name: "big3" });
    assert.match((await answers["ha.show"]({})).problem ?? "", /^if H\d of 3 hosts failed/);
    // There is too little room anyway, and it makes that no worse.
    await answers["vm.create"]({
      name: "tiny",
      volumes: ["t"],
      memoryBytes: GIB,
      unprotected: true,
    });
    await answers["ha.set"]({ admission: "refuse" });
    await answers["vm.start"]({ name: "tiny" });
    await answers["ha.set"]({ admission: "off" });
    assert.equal((await answers["ha.show"]({})).problem, undefined);
  });
});
