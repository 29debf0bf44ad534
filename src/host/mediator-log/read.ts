import { type FileHandle, open } from "node:fs/promises";
import type { MediatorEvent } from "../../protocol/mediator-events.ts";
import { LogFeed } from "./feed.ts";

export interface ReadOptions {
  /** The number that events carry as `log`; 0 unless told otherwise. */
  readonly log?: number;
  /** Numbers of epochs; counted from 0 unless told otherwise. */
  readonly nextEpoch?: () => number;
  readonly chunkBytes?: number;
  /** Stops between two chunks; the promise is then rejected with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface ReadResult {
  readonly bytes: number;
}

const counter = (): (() => number) => {
  let next = 0;
  return () => next++;
};

/**
 * Reads a whole log once, from its start to where it ends now, and gives its events in order. Memory does not grow with
 * the file. `source`: a path, or a file that is open (and stays so). Rejects with the error of the operating system
 * when the file cannot be opened or read.
 */
export async function readMediatorLog(
  source: string | FileHandle,
  onEvent: (event: MediatorEvent) => void,
  options: ReadOptions = {},
): Promise<ReadResult> {
  const file = typeof source === "string" ? await open(source, "r") : source;
  const feed = new LogFeed({
    log: options.log ?? 0,
    emit: onEvent,
    nextEpoch: options.nextEpoch ?? counter(),
    areas: 2,
    ...(options.chunkBytes === undefined ? {} : { chunkBytes: options.chunkBytes }),
  });
  try {
    let area = 0;
    let position = 0;
    let reading = file.read(feed.buffer, feed.dataAt(area), feed.chunkBytes, position);
    for (;;) {
      const { bytesRead } = await reading;
      options.signal?.throwIfAborted();
      if (bytesRead === 0) break;
      position += bytesRead;
      // The next chunk is read by another thread while this one is parsed here.
      const next = 1 - area;
      reading = file.read(feed.buffer, feed.dataAt(next), feed.chunkBytes, position);
      try {
        feed.filled(area, bytesRead);
      } catch (error) {
        await reading.catch(() => {});
        throw error;
      }
      area = next;
    }
    feed.finish(area);
    return { bytes: position };
  } finally {
    feed.close();
    if (typeof source === "string") await file.close();
  }
}

/**
 * The same for a stream, such as standard input. Its events tell when their bytes came (`notAfter`); with `now` null,
 * they tell no time. A stream that fails rejects, after the events of all that came.
 */
export async function readMediatorStream(
  stream: AsyncIterable<Uint8Array>,
  onEvent: (event: MediatorEvent) => void,
  options: ReadOptions & { readonly now: (() => number) | null },
): Promise<ReadResult> {
  const feed = new LogFeed({
    log: options.log ?? 0,
    emit: onEvent,
    nextEpoch: options.nextEpoch ?? counter(),
    ...(options.chunkBytes === undefined ? {} : { chunkBytes: options.chunkBytes }),
  });
  try {
    for await (const piece of stream) {
      options.signal?.throwIfAborted();
      if (options.now !== null) feed.when = { notBefore: null, notAfter: options.now() };
      feed.push(piece);
    }
    feed.finish();
    return { bytes: feed.offset };
  } finally {
    feed.close();
  }
}
