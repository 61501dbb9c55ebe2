/** From a request's method, path, query and body to the operation that is meant and its request. */
import { CodedError } from "../../base/index.ts";
import { nearest } from "../nearest.ts";
import { operationNames, operationRow } from "./operations.ts";
import type { Operation } from "./operations.ts";
import { anyShape, shapeProblems } from "./shape.ts";
import type { AnyShape } from "./shape.ts";

export interface Match {
  readonly operation: Operation;
  readonly pathFields: Readonly<Record<string, string>>;
}

interface Route {
  readonly operation: Operation;
  readonly wanted: readonly string[];
}

const ROUTES: readonly Route[] = operationNames.map((name) => {
  const operation = operationRow(name);
  return { operation, wanted: operation.path.split("/") };
});

/** Fails with `path-unknown` or `method-unknown`. */
export function matchOperation(method: string, pathname: string): Match {
  const matches: Match[] = [];
  const given = pathname.split("/");
  for (const { operation, wanted } of ROUTES) {
    const pathFields = matchPath(wanted, given);
    if (pathFields !== undefined) matches.push({ operation, pathFields });
  }
  const found = matches.find(({ operation }) => operation.method === method);
  if (found !== undefined) return found;
  if (matches.length > 0) {
    const methods = matches.map(({ operation }) => operation.method).join(", ");
    const message = `${pathname} does not take ${method.slice(0, 16)}`;
    throw new CodedError({ code: "method-unknown", message, hint: `It takes ${methods}` });
  }
  const paths = operationNames.map((name) => operationRow(name).path);
  const suggestion = nearest(pathname, [...paths, "/metrics", "/healthz", "/readyz"]);
  throw new CodedError({
    code: "path-unknown",
    message: `there is nothing at ${pathname.slice(0, 80)}`,
    hint:
      suggestion === undefined
        ? "docs/operating/commands.md lists every path"
        : `Did you mean ${suggestion}?`,
  });
}

/** The values of the path's ":" segments, or undefined if the path is another one. */
function matchPath(
  wanted: readonly string[],
  given: readonly string[],
): Record<string, string> | undefined {
  if (wanted.length !== given.length) return undefined;
  const fields: Record<string, string> = {};
  for (const [index, segment] of wanted.entries()) {
    const text = given[index]!;
    if (segment.startsWith(":")) fields[segment.slice(1)] = decode(text);
    else if (segment !== text) return undefined;
  }
  return fields;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // Not percent-encoded: the name is then refused as any unknown one is.
  }
}

/** Query parameters as the kinds of value that the request's shape wants. */
export function queryFields(operation: Operation, url: URL): Record<string, unknown> {
  const { fields } = anyShape(operation.request);
  return Object.fromEntries(
    Array.from(url.searchParams, ([key, text]) => {
      const kind = Object.hasOwn(fields, key) ? fields[key]?.shape.kind : undefined;
      return [key, queryValue(kind, text)];
    }),
  );
}

function queryValue(kind: AnyShape["kind"] | undefined, text: string): unknown {
  if (kind === "integer" && /^\d{1,16}$/.test(text)) return Number(text);
  if (kind === "boolean" && (text === "" || text === "true")) return true;
  return kind === "boolean" && text === "false" ? false : text;
}

/** Fails with `request-invalid`, which names every problem. */
export function checkRequest(operation: Operation, value: unknown): unknown {
  const problems = shapeProblems(anyShape(operation.request), value);
  if (problems.length === 0) return value;
  const message = `${operation.name}: ${problems.join("; ")}`;
  const hint = "See docs/operating/commands.md, which lists every field";
  throw new CodedError({ code: "request-invalid", message, hint });
}
