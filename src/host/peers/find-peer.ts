/** A host of the cluster by its name or id. */
import { CodedError } from "../../base/index.ts";
import type { DataPlaneMethods, PeerView } from "../data/data-plane-port.ts";
import { nearest } from "../nearest.ts";
import type { RpcPeer } from "../data/rpc.ts";

/** Fails with `host-unknown`. */
export async function findPeer(
  plane: Pick<RpcPeer<object, DataPlaneMethods>, "call">,
  name: string,
): Promise<PeerView> {
  const hosts = await plane.call("listHosts", undefined);
  const host = hosts.find((one) => one.name === name || one.hostId === name);
  if (host !== undefined) return host;
  throw hostUnknown(
    name,
    hosts.map((one) => one.name),
  );
}

/** `names` are those of all hosts. */
export function hostUnknown(name: string, names: readonly string[]): CodedError {
  const meant = nearest(name, names);
  return new CodedError({
    code: "host-unknown",
    message: `there is no host named ${name.slice(0, 80)}`,
    hint: meant === undefined ? "drystone host list shows all hosts" : `Did you mean ${meant}?`,
  });
}
