/** Decompresses one XZ stream of at most `limit` bytes; null when it is damaged or larger. */
export type XzDecoder = (payload: Buffer, limit: number) => Buffer | null;

const LIBRARY = "liblzma.so.5";
/** Return values of liblzma (lzma/base.h). */
const LZMA_OK = 0;
const LZMA_BUF_ERROR = 10;
const MEMORY_LIMIT = 128n << 20n;
const FIRST_OUTPUT = 1 << 16;

let loaded: Promise<XzDecoder | null> | undefined;

/**
 * A decoder for XZ payloads through the machine's liblzma, or null where there is none. Only journals of systemd
 * built without LZ4 and ZSTD have such payloads. The library is given buffers of ours, never a mapped file: a
 * journal that shrinks while it is read cannot raise SIGBUS in this process.
 */
export function xzDecoder(): Promise<XzDecoder | null> {
  loaded ??= load().catch(() => null);
  return loaded;
}

async function load(): Promise<XzDecoder> {
  const { default: koffi } = await import("koffi");
  const decode = koffi
    .load(LIBRARY)
    .func(
      "int lzma_stream_buffer_decode(_Inout_ uint64_t *memlimit, uint32_t flags, void *allocator, const uint8_t *in, " +
        "_Inout_ size_t *in_pos, size_t in_size, uint8_t *out, _Inout_ size_t *out_pos, size_t out_size)",
    );
  return (payload, limit) => {
    for (let room = FIRST_OUTPUT; room <= limit; room *= 16) {
      const output = Buffer.allocUnsafe(room);
      const written = [0];
      const result: unknown = decode([MEMORY_LIMIT], 0, null, payload, [0], payload.length, output, written, room);
      if (result === LZMA_OK) return output.subarray(0, Number(written[0]));
      if (result !== LZMA_BUF_ERROR) return null;
    }
    return null;
  };
}
