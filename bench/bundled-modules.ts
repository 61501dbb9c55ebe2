/** Which module a line of the bundled program came from: the bundler names each where it begins. */
import * as fs from "node:fs";
import { fileURLToPath } from "node:url";

const BUNDLED = /\/dist\/run\/[^/]+\.js$/;
const BEGIN = /^\/\/ ((?:dist|node_modules)\/\S+\.js)$/;

interface Module {
  readonly firstLine: number;
  readonly path: string;
}

const known = new Map<string, readonly Module[]>();

/** The module's place below the repository, or the address itself if that is no bundled file. */
export function moduleAt(url: string, line: number): string {
  if (!BUNDLED.test(url)) return url;
  let modules = known.get(url);
  if (modules === undefined) {
    modules = modulesOf(fs.readFileSync(fileURLToPath(url), "utf8"));
    known.set(url, modules);
  }
  const found = modules.findLast(({ firstLine }) => firstLine <= line);
  return found === undefined ? url : `/${found.path}`;
}

function modulesOf(text: string): Module[] {
  const modules: Module[] = [];
  for (const [firstLine, content] of text.split("\n").entries()) {
    const path = BEGIN.exec(content)?.[1];
    if (path !== undefined) modules.push({ firstLine, path });
  }
  return modules;
}
