/**
 * Metrics as numbers in memory, and their text in the exposition format of Prometheus, version
 * 0.0.4.
 *
 * Asking again for the same name and labels gives the same number, so that two parts of the system
 * may count together. The same name as another kind, with another help text or other bounds is a
 * bug.
 */
import { assert, assertDefined } from "../base/index.ts";
import type { Counter, Gauge, Histogram, MetricLabels, Metrics } from "../ports/index.ts";

type Kind = "counter" | "gauge" | "histogram";

const NAME = /^drystone_[a-z0-9_]+$/;
const LABEL = /^[a-z_][a-z0-9_]*$/;

interface Sample {
  /** Lines of the exposition: name with suffix and labels, a space, the value. */
  lines(name: string, labels: string): string;
}

class Family {
  readonly kind: Kind;
  readonly help: string;
  /** By their labels as text, in the order they were made. */
  readonly samples = new Map<string, Sample>();

  constructor(kind: Kind, help: string) {
    this.kind = kind;
    this.help = help;
  }
}

export class PrometheusMetrics implements Metrics {
  readonly #families = new Map<string, Family>();

  counter(name: string, help: string, labels: MetricLabels = {}): Counter {
    assert(name.endsWith("_total"), "the name of a counter ends in _total");
    return this.#sample("counter", name, help, labels, () => new CounterSample(), CounterSample);
  }

  gauge(name: string, help: string, labels: MetricLabels = {}): Gauge {
    return this.#sample("gauge", name, help, labels, () => new GaugeSample(), GaugeSample);
  }

  histogram(
    name: string,
    help: string,
    bounds: readonly number[],
    labels: MetricLabels = {},
  ): HistogramSample {
    const make = (): HistogramSample => new HistogramSample(bounds);
    const sample = this.#sample("histogram", name, help, labels, make, HistogramSample);
    assert(sample.hasBounds(bounds), `${name} has other bounds`);
    return sample;
  }

  /** The whole registry, ready to be served as `text/plain; version=0.0.4`. */
  exposition(): string {
    let text = "";
    for (const [name, family] of this.#families) {
      text += `# HELP ${name} ${escapeHelp(family.help)}\n# TYPE ${name} ${family.kind}\n`;
      for (const [labels, sample] of family.samples) text += sample.lines(name, labels);
    }
    return text;
  }

  #sample<S extends Sample>(
    kind: Kind,
    name: string,
    help: string,
    labels: MetricLabels,
    make: () => S,
    type: abstract new (...parameters: never[]) => S,
  ): S {
    assert(NAME.test(name), `${name} is not a metric name of ours`);
    let family = this.#families.get(name);
    if (family === undefined) {
      family = new Family(kind, help);
      this.#families.set(name, family);
    }
    assert(family.kind === kind && family.help === help, `${name} is declared in two ways`);
    const key = labelText(labels);
    const found = family.samples.get(key);
    if (found === undefined) {
      const sample = make();
      family.samples.set(key, sample);
      return sample;
    }
    assert(found instanceof type, `${name} is of another kind`);
    return found;
  }
}

class CounterSample implements Counter, Sample {
  #value = 0;

  add(amount: number): void {
    assert(amount >= 0, "a counter never falls");
    this.#value += amount;
  }

  lines(name: string, labels: string): string {
    return line(name, labels, this.#value);
  }
}

class GaugeSample implements Gauge, Sample {
  #value = 0;

  set(value: number): void {
    this.#value = value;
  }

  lines(name: string, labels: string): string {
    return line(name, labels, this.#value);
  }
}

/** A histogram that can also take over what was counted elsewhere. */
export class HistogramSample implements Histogram, Sample {
  readonly #bounds: Float64Array;
  /** One more than there are bounds: the last one is for whatever lies above them. */
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[]) {
    const ascending = bounds.every((bound, i) => i === 0 || bound > bounds[i - 1]!);
    assert(bounds.length > 0 && ascending, "the bounds of a histogram ascend");
    this.#bounds = Float64Array.from(bounds);
    this.#counts = new Float64Array(bounds.length + 1);
  }

  hasBounds(bounds: readonly number[]): boolean {
    return bounds.length === this.#bounds.length && bounds.every((b, i) => b === this.#bounds[i]);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    this.#counts[bucket] = assertDefined(this.#counts[bucket], "a bucket per bound") + 1;
    this.#sum += value;
  }

  /** Takes over what was counted elsewhere: how many in each bucket, and the sum of all. */
  add(counts: readonly number[], sum: number): void {
    assert(counts.length === this.#counts.length, "a count per bucket");
    for (const [bucket, count] of counts.entries()) this.#counts[bucket]! += count;
    this.#sum += sum;
  }

  lines(name: string, labels: string): string {
    let text = "";
    let count = 0;
    for (const [i, bucket] of this.#counts.entries()) {
      count += bucket;
      const le = i < this.#bounds.length ? numberText(this.#bounds[i]!) : "+Inf";
      text += line(`${name}_bucket`, joinLabels(labels, `le="${le}"`), count);
    }
    return text + line(`${name}_sum`, labels, this.#sum) + line(`${name}_count`, labels, count);
  }
}

function line(name: string, labels: string, value: number): string {
  return `${name}${labels === "" ? "" : `{${labels}}`} ${numberText(value)}\n`;
}

function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}

function joinLabels(first: string, second: string): string {
  return first === "" ? second : `${first},${second}`;
}

/** Labels in the order of their names, so that equal ones have equal text. */
function labelText(labels: MetricLabels): string {
  return Object.keys(labels)
    .toSorted()
    .map((name) => {
      assert(LABEL.test(name) && name !== "le", `${name} is not a label name`);
      return `${name}="${escapeLabel(assertDefined(labels[name], "a label has a value"))}"`;
    })
    .join(",");
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
