import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { compileLibrary, type Running, start } from "./real-process.ts";

/**
 * A process that makes transport calls and counts them itself: the truth that a ledger is compared with.
 */

/**
 * A shim by its symbols. A call spins for args[1] ns, or never comes back when args[2] is set, and returns args[0].
 * With -O2 its exported function is a jump to the one that works, as in the shims in the field.
 */
const LIBRARY = `
#include <time.h>
#include <unistd.h>
int cuInit(unsigned flags) { return (int)flags; }
static long now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000L + t.tv_nsec; }
static __attribute__((noipa)) int work(void *tp, unsigned id, const unsigned *args, unsigned n, const void *send,
    unsigned send_len, void *result, void *recv, unsigned cap, unsigned *len) {
  if (args[2]) for (;;) pause();
  if (args[1]) for (long end = now() + args[1]; now() < end;) ;
  __asm__ volatile("" ::: "memory");
  return (int)args[0];
}
int cuda_transport_call(void *tp, unsigned id, const unsigned *args, unsigned n, const void *send,
    unsigned send_len, void *result, void *recv, unsigned cap, unsigned *len) {
  return work(tp, id, args, n, send, send_len, result, recv, cap, len);
}
`;

const PROGRAM = `
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
typedef int (*call_fn)(void *, unsigned, const unsigned *, unsigned, const void *, unsigned, void *, void *, unsigned, unsigned *);
static call_fn libraries[8];
static int loaded;
static const unsigned ids[] = {0x30, 0x32, 0x33, 0x3c, 0x50, 0xb5};
enum { IDS = 6 };
static const int codes[] = {0, 2, 999};
struct truth { unsigned long calls[3], sent, asked; } total[IDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long count;
static unsigned spin;

static void load(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) { puts(dlerror()); exit(1); }
  libraries[loaded++] = (call_fn)dlsym(library, "cuda_transport_call");
}
static void *run(void *unused) {
  struct truth own[IDS] = {{{0}}};
  for (long i = 0; i < count; i++) {
    unsigned id = i % IDS, code = i % 10 == 3 ? 1 : i % 10 == 7 ? 2 : 0, sent = i % 1000 * 4099, asked = i % 77 * 65537;
    const unsigned args[3] = {codes[code], spin, 0};
    if (libraries[i % loaded](&count, ids[id], args, 3, args, sent, own, own, asked, 0) != codes[code]) abort();
    own[id].calls[code]++; own[id].sent += sent; own[id].asked += asked;
  }
  pthread_mutex_lock(&lock);
  for (int id = 0; id < IDS; id++) {
    for (int code = 0; code < 3; code++) total[id].calls[code] += own[id].calls[code];
    total[id].sent += own[id].sent; total[id].asked += own[id].asked;
  }
  pthread_mutex_unlock(&lock);
  return unused;
}
static void *hang(void *unused) {
  const unsigned args[3] = {0, 0, 1};
  printf("hanging %ld\\n", (long)syscall(SYS_gettid));
  libraries[0](&count, 0x50, args, 3, args, 100, 0, 0, 200, 0);
  return unused;
}
int main(int argc, char **argv) {
  char line[4096], path[4000];
  int threads;
  pthread_t made[64];
  setvbuf(stdout, 0, _IOLBF, 0);
  for (int i = 1; i < argc; i++) load(argv[i]);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "run %ld %d %u", &count, &threads, &spin) == 3) {
      struct timespec a, b;
      clock_gettime(CLOCK_MONOTONIC, &a);
      for (int i = 0; i < threads; i++) pthread_create(&made[i], 0, run, 0);
      for (int i = 0; i < threads; i++) pthread_join(made[i], 0);
      clock_gettime(CLOCK_MONOTONIC, &b);
      printf("ran %ld\\n", (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec);
    } else if (sscanf(line, "load %3999s", path) == 1) {
      load(path);
      puts("loaded");
    } else if (!strncmp(line, "hang", 4)) {
      pthread_create(&made[0], 0, hang, 0);
    } else {
      printf("truth");
      for (int i = 0; i < IDS; i++) printf(" %u:%lu:%lu:%lu:%lu:%lu", ids[i], total[i].calls[0], total[i].calls[1],
                                            total[i].calls[2], total[i].sent, total[i].asked);
      puts("");
    }
  }
  return 0;
}
`;

/** The instructions that a function begins with: each costs a probe differently. */
export const PROLOGUES = {
  /** `endbr64; jmp`: -O2 with CET, as distributions build. */
  endbr: ["-O2", "-fcf-protection=full"],
  /** `jmp`. */
  jump: ["-O2", "-fcf-protection=none"],
  /** `push %rbp`. */
  push: ["-O0", "-fcf-protection=none"],
} as const;

export type Prologue = keyof typeof PROLOGUES;

/** Compiles a shim whose transport function begins in the given way; every call makes a new file. */
export function compileTransport(directory: string, name: string, prologue: Prologue = "endbr"): string {
  return compileLibrary(directory, name, LIBRARY, ...PROLOGUES[prologue]);
}

export function compileCaller(directory: string): string {
  const path = join(directory, "caller");
  execFileSync("gcc", ["-O2", "-o", path, "-x", "c", "-", "-ldl", "-lpthread"], { input: PROGRAM });
  return path;
}

/** What the process counted of one call id. */
export interface Truth {
  readonly count: number;
  readonly results: Readonly<Record<string, number>>;
  readonly bytesToHost: number;
  readonly bytesBack: number;
}

export interface Caller extends Running {
  /** Makes `calls` calls in each of `threads` threads, each of `spinNs` at least; returns the ns it took. */
  run(calls: number, threads?: number, spinNs?: number): Promise<number>;
  load(library: string): Promise<void>;
  /** Starts a thread with a call that never comes back; returns its tid. */
  hang(): Promise<number>;
  /** What the process counted since its start, by call id. */
  truth(): Promise<ReadonlyMap<number, Truth>>;
}

/** Starts the process with these libraries loaded; its calls go to them in turn. */
export async function startCaller(program: string, libraries: readonly string[]): Promise<Caller> {
  const running = await start(program, libraries);
  const { stdin, stdout } = running.child;
  if (stdin === null || stdout === null) throw new Error("the caller has no pipes");
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const ask = async (command: string, answer: string): Promise<string> => {
    stdin.write(`${command}\n`);
    const line = await lines.next();
    if (line.done === true || !line.value.startsWith(answer)) throw new Error(`${command}: ${line.value}`);
    return line.value.slice(answer.length).trim();
  };
  return {
    ...running,
    run: async (calls, threads = 1, spinNs = 0) => Number(await ask(`run ${calls} ${threads} ${spinNs}`, "ran")),
    load: async (library) => void (await ask(`load ${library}`, "loaded")),
    hang: async () => Number(await ask("hang", "hanging")),
    truth: async () => parseTruth(await ask("truth", "truth")),
  };
}

function parseTruth(line: string): ReadonlyMap<number, Truth> {
  return new Map(
    line.split(" ").map((part) => {
      const [id = 0, ok = 0, oom = 0, failed = 0, bytesToHost = 0, bytesBack = 0] = part.split(":").map(Number);
      const results = Object.fromEntries(Object.entries({ 0: ok, 2: oom, 999: failed }).filter(([, n]) => n > 0));
      return [id, { count: ok + oom + failed, results, bytesToHost, bytesBack }];
    }),
  );
}
