import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { isVmNetwork, vmNetworks } from "./vm-network.ts";

test("a network is user, a tap or a bridge, and its name nothing else to QEMU", () => {
  for (const text of ["user", "tap:vnet0", "bridge:br-lan", "tap:a.1"])
    assert.ok(isVmNetwork(text), text);
  const wrong = ["", "tap", "tap:", "user:x", "tap:a,script=/bin/sh", "bridge:-br", "tap:a b"];
  for (const text of [...wrong, `tap:${"a".repeat(16)}`, "vlan:1"])
    assert.ok(!isVmNetwork(text), text);
});

test("a machine has the same addresses on every host, and no other machine has them", () => {
  const web = vmNetworks("c1", { name: "web", networks: ["user", "tap:vnet0", "bridge:br0"] });
  assert.deepEqual(
    web.map(({ mac: _mac, ...rest }) => rest),
    [
      { kind: "user" },
      { kind: "tap", interfaceName: "vnet0" },
      { kind: "bridge", interfaceName: "br0" },
    ],
  );
  for (const { mac } of web) assert.match(mac, /^02(:[0-9a-f]{2}){5}$/);
  assert.deepEqual(
    web,
    vmNetworks("c1", { name: "web", networks: ["user", "tap:vnet0", "bridge:br0"] }),
  );
  const others = ["c1 db", "c2 web"].flatMap((text) => {
    const [clusterId = "", name = ""] = text.split(" ");
    return vmNetworks(clusterId, { name, networks: ["user"] });
  });
  assert.equal(new Set([...web, ...others].map(({ mac }) => mac)).size, 5);
});
