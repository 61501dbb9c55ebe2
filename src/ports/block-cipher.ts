/**
 * Makes blocks of 4096 bytes unreadable and readable again, under one key, keeping their length.
 * The same block gives the same result every time; a block that differs in one bit gives one that
 * has nothing in common with it, in both directions.
 */
export interface BlockCipher {
  /** `target` may be changed by others meanwhile; what is read from it again is nothing. */
  encrypt(source: Uint8Array, sourceAt: number, target: Uint8Array, targetAt: number): void;
  decrypt(source: Uint8Array, sourceAt: number, target: Uint8Array, targetAt: number): void;
}
