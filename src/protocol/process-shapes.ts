/** What an argument vector says of a process (docs/wire.md, "Ollama processes"). */
export interface ProcessShape {
  readonly role: "server" | "model-runner" | "discovery-runner";
  /** argv[0] and the words that tell the role: never a value, never an unknown flag. */
  readonly argv: readonly string[];
  /**
   * The shape is Ollama's wherever it is found. A bare `serve` is not: other programs have such a word, so outside
   * the unit it needs another sign.
   */
  readonly distinctive: boolean;
}

/** Flags that tell a generation or a role. Their values (a path, a port) are not kept. */
const ROLE_FLAGS: ReadonlySet<string> = new Set([
  "--model",
  "--port",
  "--ollama-engine",
  "--mlx-engine",
  "--list-devices",
  "--no-webui",
  "--offline",
]);

const LOADER = /^ld-linux|^ld-\d|^ld\.so$/;
/** Loader options that take a word; the others stand alone (ld.so(8)). */
const LOADER_VALUES: ReadonlySet<string> = new Set([
  "--library-path",
  "--preload",
  "--audit",
  "--argv0",
  "--inhibit-rpath",
  "--glibc-hwcaps-prepend",
  "--glibc-hwcaps-mask",
]);
const INTERPRETER = /^-?(?:ba|da|a|z|k)?sh$|^busybox$|^python[\d.]*$|^perl$/;
/** Runners of 0.5.1 and older, one executable a CPU or GPU variant. */
const OLD_RUNNER = /^ollama_llama_(?:server|runner)/;
const LLAMA_SERVER = /^llama-server/;
const OLLAMA_NAME = /ollama/;
const NOT_PLAIN = /[\s\u0000-\u001f\u007f]/;
const MAX_WORD = 256;

/** The role of a process by its arguments, for every generation of Ollama; null when they say nothing. */
export function shapeOf(argv: readonly string[]): ProcessShape | null {
  const words = withoutLoader(argv);
  const program = words[0];
  if (program === undefined) return null;
  const name = baseName(program);
  if (INTERPRETER.test(name)) return null;
  const rest = words.slice(1);
  const flags = new Set(rest.map(flagOf).filter((flag) => flag !== null));
  const shape = (role: ProcessShape["role"], distinctive: boolean): ProcessShape => ({
    role,
    argv: keepableArgv(words),
    distinctive,
  });
  if (rest[0] === "serve") return shape("server", OLLAMA_NAME.test(name));
  if (rest[0] === "runner" && (flags.has("--model") || flags.has("--port"))) {
    return shape(flags.has("--model") ? "model-runner" : "discovery-runner", true);
  }
  if (OLD_RUNNER.test(name) && flags.has("--model")) return shape("model-runner", true);
  const asLlamaServer = LLAMA_SERVER.test(name) || (flags.has("--no-webui") && flags.has("--offline"));
  if (asLlamaServer && (flags.has("--port") || flags.has("--list-devices"))) {
    const discovers = flags.has("--list-devices") || !flags.has("--model");
    return shape(discovers ? "discovery-runner" : "model-runner", true);
  }
  return null;
}

/** argv[0] and the role words of any process: what may be kept of a command line, which can hold a prompt. */
export function keepableArgv(argv: readonly string[]): string[] {
  const [program, ...rest] = argv;
  if (program === undefined) return [];
  const kept = [program.split(NOT_PLAIN, 1)[0]?.slice(0, MAX_WORD) ?? ""];
  if (rest[0] === "serve" || rest[0] === "runner") kept.push(rest[0]);
  for (const word of rest) {
    const flag = flagOf(word);
    if (flag !== null && !kept.includes(flag)) kept.push(flag);
  }
  return kept;
}

/** A command of a unit file with everything but paths, `serve`, `runner` and role flags left out as "…". */
export function keepableCommand(words: readonly string[]): string {
  const kept = words.map((word, index) => {
    const ofFlag = words[index - 1]?.startsWith("-") === true;
    const path = word.startsWith("/") && !ofFlag && !NOT_PLAIN.test(word) && word.length <= MAX_WORD;
    if (index === 0 || path || word === "serve" || word === "runner") return word.slice(0, MAX_WORD);
    return flagOf(word) ?? "…";
  });
  return kept.join(" ");
}

function flagOf(word: string): string | null {
  const name = word.split("=", 1)[0] ?? "";
  return ROLE_FLAGS.has(name) ? name : null;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The program's own words when it was started through the dynamic loader. */
function withoutLoader(argv: readonly string[]): readonly string[] {
  if (argv[0] === undefined || !LOADER.test(baseName(argv[0]))) return argv;
  let at = 1;
  for (let word = argv[at]; word?.startsWith("--"); word = argv[at]) at += LOADER_VALUES.has(word) ? 2 : 1;
  return argv.slice(at);
}
