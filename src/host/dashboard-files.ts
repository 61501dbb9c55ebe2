/**
 * The dashboard as files: built by `npm run build` into dist/web, read once, and served by path
 * from memory. A path that is not one of theirs is nothing, so there is nothing to climb out of.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const FOLDER = fileURLToPath(new URL("../../web/", import.meta.url));
/** Vite names files below it by their content. */
const HASHED_PREFIX = "/assets/";
const YEAR_SECONDS = 31_536_000;

const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

/**
 * Nothing but what this host serves, no inline script, no frame around it: text from a volume's
 * name or an event that got past React would still not run.
 */
const CONTENT_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** For every answer of the API, too. */
export const GUARD_HEADERS: Readonly<Record<string, string>> = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
};

interface DashboardFile {
  readonly type: string;
  readonly plain: Buffer;
  readonly zipped: Buffer;
}

export class DashboardFiles {
  readonly #folder: string;
  #files: ReadonlyMap<string, DashboardFile> | undefined;

  constructor(folder: string = FOLDER) {
    this.#folder = folder;
  }

  /** False if the path is not a file of the dashboard. */
  answer(request: IncomingMessage, response: ServerResponse, pathname: string): boolean {
    if (request.method !== "GET" && request.method !== "HEAD") return false;
    this.#files ??= readFiles(this.#folder);
    const path = pathname === "/" ? "/index.html" : pathname;
    const file = this.#files.get(path);
    if (file === undefined) return false;
    const isZipped = /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""));
    const body = isZipped ? file.zipped : file.plain;
    response.writeHead(200, {
      ...GUARD_HEADERS,
      ...(isZipped ? { "content-encoding": "gzip" } : {}),
      "content-type": file.type,
      "content-length": body.length,
      "content-security-policy": CONTENT_POLICY,
      "cross-origin-opener-policy": "same-origin",
      "cache-control": path.startsWith(HASHED_PREFIX)
        ? `public, max-age=${YEAR_SECONDS}, immutable`
        : "no-cache",
      vary: "accept-encoding",
    });
    response.end(request.method === "HEAD" ? undefined : body);
    return true;
  }
}

/** Empty where the dashboard was not built. */
function readFiles(folder: string): ReadonlyMap<string, DashboardFile> {
  const files = new Map<string, DashboardFile>();
  for (const path of filesIn(folder)) {
    const type = TYPES[extname(path)];
    if (type === undefined) continue;
    const plain = readFileSync(path);
    const name = `/${relative(folder, path).split(sep).join("/")}`;
    files.set(name, { type, plain, zipped: gzipSync(plain) });
  }
  return files;
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
