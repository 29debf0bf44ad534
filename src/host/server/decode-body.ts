import { promisify } from "node:util";
import { constants, gunzip, zstdDecompress } from "node:zlib";
import { Refusal } from "./refusal.ts";

const gunzipped = promisify(gunzip);
const unzstd = promisify(zstdDecompress);
/** Memory that a zstd frame may ask for, as a power of 2: 8 MiB, what level 19 uses. */
const ZSTD_WINDOW_LOG = 23;

/**
 * A body as its Content-Encoding says, decompressed in another thread and never beyond `mostBytes`, as JSON. Throws
 * Refusal.
 */
export async function decodeBody(body: Buffer, encoding: string | undefined, mostBytes: number): Promise<unknown> {
  const bytes = await decompress(body, encoding, mostBytes);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new Refusal("bad-request", "the body is no JSON in UTF-8");
  }
}

/** Bytes of the decompressed body. Throws Refusal. */
async function decompress(body: Buffer, encoding: string | undefined, mostBytes: number): Promise<Buffer> {
  try {
    switch (encoding) {
      case undefined:
      case "identity":
        return body;
      case "gzip":
        return await gunzipped(body, { maxOutputLength: mostBytes });
      case "zstd":
        return await unzstd(body, {
          maxOutputLength: mostBytes,
          params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG },
        });
    }
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") {
      throw new Refusal("too-large", `the body is more than ${mostBytes} bytes when decompressed: send fewer entries`);
    }
    throw new Refusal("bad-request", `the body is not what its Content-Encoding says: ${encoding}`);
  }
  throw new Refusal("unsupported", "Content-Encoding: gzip, zstd or none");
}
