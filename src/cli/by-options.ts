/** What a host refuses in a request, in the words of who typed the command. */
import { CodedError } from "../base/index.ts";
import type { Command } from "../host/index.ts";

const BETWEEN = "; ";

/** An error that speaks of fields as one that speaks of options; others as they are. */
export function byOptions(command: Command & { readonly name: string }, error: unknown): unknown {
  if (!(error instanceof CodedError) || error.code !== "request-invalid") return error;
  const { message, details } = error.fault;
  const begin = `${command.name}: `;
  if (!message.startsWith(begin)) return error;
  const problems = message.slice(begin.length).split(BETWEEN);
  const line = `drystone ${command.words.join(" ")}`;
  return new CodedError(
    {
      code: error.code,
      message: problems.map((problem) => typed(command, problem)).join(BETWEEN),
      hint: `Run: ${line} --help`,
      ...(details === undefined ? {} : { details }),
    },
    { cause: error },
  );
}

/** Each problem begins with the place that it is about, such as `scopes[0]`. */
function typed({ options, positionals }: Command, problem: string): string {
  const [place = "", field = ""] = /^(\w+)(\[\d+\])?/.exec(problem) ?? [];
  const option = options.find((one) => one.field === field);
  if (option !== undefined) return `--${option.name}${problem.slice(place.length)}`;
  const isPositional = positionals.some((one) => one.replace("...", "") === field);
  return isPositional ? `${field.toUpperCase()}${problem.slice(place.length)}` : problem;
}
