import type { Disk, DiskDone, DiskFault, DiskMemory } from "./disk.ts";
import { CodedError } from "../base/index.ts";

/** Disk requests as promises, for control flow that is not on the way of a client's I/O. */
export class DiskRequests {
  readonly #disk: Disk;
  readonly #waiting = new Map<number, (fault: DiskFault | undefined) => void>();
  #nextToken = 0;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  async read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
  ): Promise<void> {
    await this.#run(`read of ${lengthBytes} bytes at ${offset}`, (token) => {
      this.#disk.read(target, targetAt, lengthBytes, offset, this.#done, token);
    });
  }

  async write(
    source: DiskMemory,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
  ): Promise<void> {
    await this.#run(`write of ${lengthBytes} bytes at ${offset}`, (token) => {
      this.#disk.write(source, sourceAt, lengthBytes, offset, this.#done, token);
    });
  }

  async flush(): Promise<void> {
    await this.#run("flush", (token) => this.#disk.flush(this.#done, token));
  }

  async flushRange(offset: number, lengthBytes: number): Promise<void> {
    await this.#run("flush", (token) => {
      this.#disk.flushRange(offset, lengthBytes, this.#done, token);
    });
  }

  async punch(offset: number, lengthBytes: number): Promise<void> {
    await this.#run(`punch of ${lengthBytes} bytes at ${offset}`, (token) => {
      this.#disk.punch(offset, lengthBytes, this.#done, token);
    });
  }

  #run(what: string, start: (token: number) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const token = this.#nextToken++;
      this.#waiting.set(token, (fault) => {
        if (fault === undefined) resolve();
        else reject(new CodedError({ code: fault, message: `the disk failed: ${what}: ${fault}` }));
      });
      start(token);
      this.#disk.submit();
    });
  }

  readonly #done: DiskDone = (token, fault) => {
    const settle = this.#waiting.get(token);
    this.#waiting.delete(token);
    settle?.(fault);
  };
}
