declare const brand: unique symbol;

/** A number or string that the compiler keeps apart from others of the same representation. */
export type Branded<T, Name extends string> = T & { readonly [brand]: Name };
