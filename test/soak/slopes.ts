/**
 * Whether a figure grows without end: a straight line through its samples by least squares, and how
 * sure that line is. Growth counts when even the lower end of what the line may be is above the
 * limit, so that noise alone fails no run.
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
  let squares = 0;
  for (const { seconds, value } of samples)
    squares += (value - meanY - slope * (seconds - meanX)) ** 2;
  const error = Math.sqrt(squares / (count - 2) / xx);
  return { perHour: slope * SECONDS_PER_HOUR, errorPerHour: error * SECONDS_PER_HOUR };
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
  const least = line.perHour - ERRORS_BELOW * line.errorPerHour;
  return {
    ...line,
    samples: warm.length,
    minutes: span / 60,
    first: first.value,
    last: last.value,
    limitPerHour,
    isLeak: limitPerHour !== undefined && least > limitPerHour,
  };
}
