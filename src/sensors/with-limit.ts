import { notRead, notReadFromError, type Reading } from "../facts/reading.ts";

/**
 * A sensor's reading, or `timed-out` when it takes longer than `limitMs`. The sensor's signal is aborted then; what
 * it does afterwards is lost. An exception is a reading too: no sensor can end the run.
 */
export async function withLimit<T>(
  name: string,
  limitMs: number,
  sensor: (signal: AbortSignal) => Promise<Reading<T>>,
): Promise<Reading<T>> {
  const abort = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Reading<T>>((resolve) => {
    timer = setTimeout(() => {
      abort.abort();
      resolve(notRead("timed-out", `${name} took longer than ${limitMs} ms`));
    }, limitMs);
  });
  try {
    return await Promise.race([sensor(abort.signal), late]);
  } catch (error) {
    return notReadFromError(error, name);
  } finally {
    clearTimeout(timer);
  }
}
