const IS_LONG = process.env["DRYSTONE_LONG"] === "1";

/** How many seeds are tried: few in the regular run, more with `DRYSTONE_LONG=1`. */
export function sample(regular: number, long: number): number {
  return IS_LONG ? long : regular;
}
