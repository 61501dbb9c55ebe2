/**
 * The data worker: devices, objects and NBD listeners on an event loop of their own. Everything it
 * needs of the main thread (directory, events, log) goes through the port; see
 * docs/internals/host.md.
 */
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../../base/index.ts";
import {
  CuttableNetwork,
  LmdbMetadataStore,
  MemfdSharedMemory,
  NativeDigests,
  NodeClock,
  StreamNetwork,
  TlsNetwork,
  TlsTrust,
  openDisk,
} from "../../platform/index.ts";
import type { Log } from "../../ports/index.ts";
import { DataPlane } from "./data-plane.ts";
import type {
  ControlMethods,
  CutMethods,
  DataPlaneMethods,
  TrustMethods,
  WatchMethods,
} from "./data-plane-port.ts";
import { RemoteDirectory } from "../directory/directory-link.ts";
import { withHostName } from "../peers/host-name.ts";
import type { PlaneIdentity } from "./plane-world.ts";
import { RpcPeer } from "./rpc.ts";
import { newId } from "../state-dir.ts";

function main(): void {
  assert(parentPort !== null, "the data worker runs as a worker");
  const directory = new RemoteDirectory(() => peer);
  const log: Log = {
    write: (level, message, fields) => {
      // Once the main thread is gone there is nobody to tell.
      peer.call("log", { level, message, fields: fields ?? {} }).catch(() => undefined);
    },
  };
  const digests = new NativeDigests();
  const identity = workerData as PlaneIdentity; // Made by DataPlaneThread in the same process.
  const clientNetwork = new StreamNetwork({ log });
  const { clusterId, cut } = identity;
  const trust = identity.trust && new TlsTrust(identity.trust.credentials, identity.trust.revoked);
  const hosts = trust === undefined ? clientNetwork : new TlsNetwork({ clusterId, trust, log });
  const cuttable = cut === undefined ? undefined : new CuttableNetwork(hosts, cut);
  const plane = new DataPlane({
    clock: new NodeClock(),
    log,
    network: cuttable ?? hosts,
    clientNetwork,
    credentials: () => trust?.credentials,
    shared: new MemfdSharedMemory(log),
    digests,
    directory,
    identity,
    newId,
    openDisk,
    openMetadata: (path, opening) => {
      const { mappedFromBytes: residentBytesMax } = identity.memory;
      return LmdbMetadataStore.open(path, { ...opening, residentBytesMax });
    },
    elsewhere: (hostId) => peer.call("verdictOn", hostId),
    seenHosts: () => peer.call("seenHosts", undefined),
    addEvent: (event) => void peer.call("addEvent", event).catch(() => undefined),
  });
  const port = parentPort;
  const local = methodsOf(plane, directory.watchMethods, { cuttable, trust }, async () => {
    await digests.close();
    // After the answer has left. With the port gone nothing keeps the loop, and the thread ends.
    setImmediate(() => port.close());
  });
  const peer: RpcPeer<typeof local, ControlMethods> = new RpcPeer(port, local, (fault) =>
    withHostName(fault, (hostId) => plane.nameOf(hostId)),
  );
}

/** Only these can be called from outside, whatever else the classes have. */
function methodsOf(
  plane: DataPlane,
  watch: WatchMethods,
  {
    cuttable,
    trust,
  }: { readonly cuttable: CuttableNetwork | undefined; readonly trust: TlsTrust | undefined },
  finish: () => Promise<void>,
): DataPlaneMethods & WatchMethods & CutMethods & TrustMethods {
  return {
    ping: async () => undefined,
    openDevice: (request) => plane.openDevice(request),
    addDevice: (request) => plane.addDevice(request),
    join: (addresses) => plane.join(addresses),
    recover: () => plane.recover(),
    listHosts: () => plane.listHosts(),
    askSeen: (hostId) => plane.askSeen(hostId),
    vmReach: (vms) => plane.vmReach(vms),
    vmPersist: (request) => plane.vmPersist(request),
    vmRetrieve: (vms) => plane.vmRetrieve(vms),
    vmForget: (vm) => plane.vmForget(vm),
    listDevices: () => plane.listDevices(),
    listResyncs: () => plane.listResyncs(),
    takeOut: (request) => plane.takeOut(request),
    scrubDevice: (device) => plane.scrubDevice(device),
    createVolume: (request) => plane.createVolume(request),
    listVolumes: () => plane.listVolumes(),
    createSnapshot: (name) => plane.snapshots.create(name),
    listSnapshots: (request) => plane.snapshots.list(request),
    deleteSnapshot: (name) => plane.snapshots.delete(name),
    rollBack: (name) => plane.snapshots.rollback(name),
    volumeChanges: (request) => plane.snapshots.changes(request),
    cloneVolume: (request) => plane.snapshots.clone(request),
    showVolume: (name) => plane.showVolume(name),
    setPolicy: (request) => plane.setPolicy(request),
    resizeVolume: (request) => plane.resizeVolume(request),
    deleteVolume: (name) => plane.deleteVolume(name),
    attach: (request) => plane.attach(request),
    detach: (name) => plane.detach(name),
    moveVolume: (request) => plane.moves.move(request),
    detachOf: (wanted) => plane.detachOf(wanted),
    expect: (request) => plane.expect(request),
    expectNoMore: (wanted) => plane.expectNoMore(wanted),
    clusterKey: () => plane.keys.show(),
    rotateClusterKey: (request) => plane.keys.rotate(request),
    listKeyDomains: () => plane.keys.domains(),
    destroyKeyDomain: (request) => plane.keys.destroyDomain(request),
    stats: () => plane.stats(),
    ownStats: () => plane.ownStats(),
    cutOff: async (addresses) => {
      assert(cuttable !== undefined, "only hosts of a development cluster are cut off");
      cuttable.cut(addresses);
    },
    setTrust: async (state) => {
      trust?.change(state);
    },
    close: async () => {
      try {
        await plane.close();
      } finally {
        await finish();
      }
    },
    watchEvent: (request) => watch.watchEvent(request),
    watchLost: (watchId) => watch.watchLost(watchId),
  };
}

main();
