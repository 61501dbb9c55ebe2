/** Which host hears which, as people read it. */
import { byName } from "../base/index.ts";
import type { NetworkHostView, SeenHostView } from "../host/index.ts";
import { table } from "./blocks.ts";
import type { Output } from "./output.ts";

export function seenTable(all: readonly NetworkHostView[], output: Output): string[] {
  const hosts = byName(all);
  return table(
    output,
    ["SEEN FROM", ...hosts.map(({ name }) => name)],
    hosts.map(({ name, sees }) => [
      name,
      ...hosts.map((other) => (other.name === name ? "-" : seenText(sees, other.name))),
    ]),
  );
}

function seenText(sees: readonly SeenHostView[] | undefined, name: string): string {
  const seen = sees?.find(({ host }) => host === name);
  if (seen === undefined) return sees === undefined ? "no answer" : "unknown";
  const { storage, management = storage } = seen;
  if (storage === management) return storage;
  return storage === "up" ? "storage only" : "management only";
}
