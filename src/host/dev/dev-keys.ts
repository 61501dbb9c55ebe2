/** The cluster key of a development cluster: one key, a copy in each host's folder. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { makeClusterKey, readClusterKeys, writeClusterKeys } from "../keys/cluster-key-file.ts";

const FILE = "cluster.key";

/** Where the host's copy is, which is made if it is missing when the cluster starts. */
export function devKeyFile(clusterFolder: string, hostFolder: string): string {
  const first = join(clusterFolder, FILE);
  const own = join(hostFolder, FILE);
  if (!existsSync(first)) makeClusterKey(first);
  mkdirSync(hostFolder, { recursive: true, mode: 0o700 });
  if (!existsSync(own)) writeClusterKeys(own, readClusterKeys(first));
  return own;
}
