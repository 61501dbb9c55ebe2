/** Keys of encrypted volumes, as people read them. */
import type { ClusterKeyView, OperationName, ResponseOf } from "../host/index.ts";
import { table } from "./blocks.ts";
import type { Output } from "./output.ts";

type Renderers<N extends OperationName> = {
  readonly [Name in N]: (response: ResponseOf<Name>, output: Output) => string[];
};

type KeyOperation = "key.show" | "key.rotate" | "key-domain.list" | "key-domain.destroy";

export const keyRenderers: Renderers<KeyOperation> = {
  "key.show": clusterKeyLines,
  "key.rotate": clusterKeyLines,
  "key-domain.list": ({ domains }, output) =>
    domains.length === 0
      ? ["no key domains", "  next: drystone volume create NAME --size 10G --encrypted"]
      : table(
          output,
          ["NAME", "MADE", "CIPHER", "VOLUMES"],
          domains.map(({ name, createdMs, cipher, volumes }) => [
            ...[name, new Date(createdMs).toISOString().slice(0, 19), cipher],
            volumes.length === 0 ? "none" : volumes.join(", "),
          ]),
        ),
  "key-domain.destroy": () => ["destroyed: what was encrypted with it cannot be read any more"],
};

function clusterKeyLines(view: ClusterKeyView, output: Output): string[] {
  const { keyId, nextKeyId, waitingFor, hosts } = view;
  const wanted = [keyId, nextKeyId].filter((id) => id !== undefined);
  return [
    keyId === undefined ? "nothing is encrypted yet" : `the cluster key is ${keyId}`,
    ...(nextKeyId === undefined ? [] : [`it is being changed to ${nextKeyId}`]),
    ...(waitingFor.length === 0
      ? []
      : [
          `  waiting for ${waitingFor.join(", ")}: they take it when they start`,
          "  or: drystone key rotate --finish, and copy the key file to them",
        ]),
    ...table(
      output,
      ["HOST", "HAS", "STATE"],
      hosts.map(({ host, keyIds, reason }) => {
        const lacks = keyIds !== undefined && !wanted.every((id) => keyIds.includes(id));
        return [host, keyIds?.join(", ") ?? "?", reason ?? (lacks ? "lacks a key" : "has the key")];
      }),
    ),
  ];
}
