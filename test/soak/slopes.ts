/**
 * Whether a figure grows without end: a straight line through its samples by least squares, and how
 * sure that line is. Growth counts when even the lower end of what the line may be is above the
 * limit, so that noise alone fails no run; and when the later half of the samples by itself says
 * so, too, for what fills and then stays is no leak.
 *
 * Samples that follow each other are alike: they are worth fewer independent ones, and the error of
 * the slope is as large as if there were only those.
 */
export interface Sample {
  readonly seconds: number;
  readonly value: number;
}

export interface Line {
  readonly perHour: number;
  /** The standard error of the slope. */
  readonly errorPerHour: number;
}

export interface Verdict extends Line {
  readonly samples: number;
  /** The span that was looked at, without the warm-up. */
  readonly minutes: number;
  readonly first: number;
  readonly last: number;
  readonly limitPerHour: number | undefined;
  /** The slope of the later half by itself. */
  readonly latePerHour: number;
  readonly isLeak: boolean;
}

export interface Judgement {
  /** From the first sample on: what fills once is no leak. */
  readonly warmUpSeconds: number;
  /** A shorter span tells nothing, and is not judged. */
  readonly spanSeconds: number;
  /** Undefined: the slope is told, and nobody minds it. */
  readonly limitPerHour: number | undefined;
}

const SECONDS_PER_HOUR = 3600;
/** Of the slope: the chance of a false alarm is one in a thousand for independent noise. */
const ERRORS_BELOW = 3;
const SAMPLES_MIN = 8;
/** A figure that hardly ever moves would be worth no sample at all. */
const ALIKE_MAX = 0.95;

/** Undefined for fewer than three samples, or samples of one moment. */
export function leastSquares(samples: readonly Sample[]): Line | undefined {
  const count = samples.length;
  if (count < 3) return undefined;
  const meanX = samples.reduce((sum, { seconds }) => sum + seconds, 0) / count;
  const meanY = samples.reduce((sum, { value }) => sum + value, 0) / count;
  let xx = 0;
  let xy = 0;
  for (const { seconds, value } of samples) {
    xx += (seconds - meanX) ** 2;
    xy += (seconds - meanX) * (value - meanY);
  }
  if (xx === 0) return undefined;
  const slope = xy / xx;
  const rests = samples.map(({ seconds, value }) => value - meanY - slope * (seconds - meanX));
  const squares = rests.reduce((sum, rest) => sum + rest ** 2, 0);
  const error = Math.sqrt((squares / (count - 2) / xx) * samplesPerIndependent(rests, squares));
  return { perHour: slope * SECONDS_PER_HOUR, errorPerHour: error * SECONDS_PER_HOUR };
}

/** By how much each resembles the one before it. */
function samplesPerIndependent(rests: readonly number[], squares: number): number {
  if (squares === 0) return 1;
  const products = rests.slice(1).reduce((sum, rest, index) => sum + rest * rests[index]!, 0);
  const alike = Math.min(ALIKE_MAX, Math.max(0, products / squares));
  return (1 + alike) / (1 - alike);
}

/** Undefined if the samples do not cover the span. */
export function judge(samples: readonly Sample[], by: Judgement): Verdict | undefined {
  const begin = (samples[0]?.seconds ?? 0) + by.warmUpSeconds;
  const warm = samples.filter(({ seconds }) => seconds >= begin);
  const [first, last] = [warm[0], warm.at(-1)];
  const line = leastSquares(warm);
  if (first === undefined || last === undefined || line === undefined) return undefined;
  const span = last.seconds - first.seconds;
  if (span < by.spanSeconds || warm.length < SAMPLES_MIN) return undefined;
  const { limitPerHour } = by;
  const middle = first.seconds + span / 2;
  const late = leastSquares(warm.filter(({ seconds }) => seconds >= middle)) ?? line;
  const isAbove = (one: Line): boolean =>
    limitPerHour !== undefined && one.perHour - ERRORS_BELOW * one.errorPerHour > limitPerHour;
  return {
    ...line,
    samples: warm.length,
    minutes: span / 60,
    first: first.value,
    last: last.value,
    limitPerHour,
    latePerHour: late.perHour,
    isLeak: isAbove(line) && isAbove(late),
  };
}
