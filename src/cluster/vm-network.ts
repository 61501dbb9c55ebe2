/** What a virtual machine is connected to, as users write it: `user`, `tap:NAME`, `bridge:NAME`. */
import { encodeUtf8, sha256, toHex } from "../base/index.ts";
import type { VmNetwork } from "../ports/index.ts";

/** As Linux has names of interfaces, and nothing that QEMU takes for more than a name. */
const PATTERN = /^(user|(tap|bridge):[A-Za-z0-9][A-Za-z0-9_.-]{0,14})$/;
/** Locally administered, of one interface. */
const MAC_FIRST_BYTE = "02";
const MAC_HASHED_BYTES = 5;

export function isVmNetwork(text: string): boolean {
  return PATTERN.test(text);
}

/** Each has the same address on whichever host the machine runs. */
export function vmNetworks(
  clusterId: string,
  { name, networks }: { readonly name: string; readonly networks: readonly string[] },
): VmNetwork[] {
  return networks.map((text, i) => {
    const mac = macOf(`${clusterId}/${name}/${i}`);
    const [kind, interfaceName = ""] = text.split(":");
    if (kind === "tap" || kind === "bridge") return { kind, interfaceName, mac };
    return { kind: "user", mac };
  });
}

function macOf(seed: string): string {
  const hash = toHex(sha256(encodeUtf8(seed)).subarray(0, MAC_HASHED_BYTES));
  return [MAC_FIRST_BYTE, ...(hash.match(/../g) ?? [])].join(":");
}
