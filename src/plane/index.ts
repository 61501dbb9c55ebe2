export { HostPlane } from "./host-plane.ts";
export type { LocalDevice } from "./device-register.ts";
export type { LocalDevices } from "./component-maker.ts";
export { ComponentServer } from "./component-server.ts";
export { RemoteComponents } from "./remote-component.ts";
export type { ClusterHosts } from "./cluster-hosts.ts";
export { HostLease } from "./host-lease.ts";
export { ManagementNetwork } from "./management-network.ts";
export type { ManagementPeer } from "./management-network.ts";
