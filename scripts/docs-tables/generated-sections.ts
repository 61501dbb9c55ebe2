/**
 * Documents carry generated parts between two markers:
 *
 *     <!-- generated: NAME -->
 *     <!-- end generated -->
 *
 * What stands between is replaced by what the provider NAME renders.
 */
import { alignTables } from "./markdown-table.ts";

export type Providers = ReadonlyMap<string, () => string>;

export interface Regenerated {
  readonly text: string;
  /** Names found in the document. */
  readonly names: readonly string[];
  /** Why the document cannot be generated; the text is then as it was. */
  readonly fault?: string;
}

const SECTION = /^<!-- generated: (\S+) -->$\n[\s\S]*?^<!-- end generated -->$/gm;
const MARKER = /^<!-- (?:generated: \S+|end generated) -->$/gm;

export function regenerate(text: string, providers: Providers): Regenerated {
  const names = [...text.matchAll(SECTION)].map((match) => match[1] ?? "");
  if ([...text.matchAll(MARKER)].length !== 2 * names.length) {
    return { text, names, fault: "a generated section is not closed, or closed twice" };
  }
  const unknown = names.find((name) => !providers.has(name));
  if (unknown !== undefined) {
    const known = [...providers.keys()].join(", ");
    return { text, names, fault: `nothing generates "${unknown}"; there are: ${known}` };
  }
  const updated = text.replaceAll(SECTION, (_section, name: string) => {
    const body = alignTables(providers.get(name)?.().trim() ?? "");
    return `<!-- generated: ${name} -->\n\n${body}\n\n<!-- end generated -->`;
  });
  return { text: updated, names };
}
