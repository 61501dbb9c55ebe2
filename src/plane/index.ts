export { ComponentServer } from "./component-server.ts";
export type { ComponentStore } from "./component-server.ts";
export { RemoteComponents } from "./remote-component.ts";
