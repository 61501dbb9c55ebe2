/** The handlers of the operations on snapshots and clones: the data plane answers them. */
import type { DataPlaneMethods } from "../data/data-plane-port.ts";
import type { Handlers } from "../api/http-api.ts";
import type { RpcPeer } from "../data/rpc.ts";
import type { SnapshotOperation } from "./snapshot-operations.ts";

export function snapshotHandlers(
  plane: Pick<RpcPeer<object, DataPlaneMethods>, "call">,
): Pick<Handlers, SnapshotOperation> {
  return {
    "snapshot.create": ({ name }) => plane.call("createSnapshot", name),
    "snapshot.list": async (request) => ({
      snapshots: await plane.call("listSnapshots", request),
    }),
    "snapshot.delete": async ({ name }) => {
      await plane.call("deleteSnapshot", name);
      return { done: true };
    },
    "snapshot.rollback": ({ name }) => plane.call("rollBack", name),
    "volume.changes": (request) => plane.call("volumeChanges", request),
    "volume.clone": (request) => plane.call("cloneVolume", request),
  };
}
