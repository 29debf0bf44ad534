// Builds dist/, what is published: the program and what it starts, each with its imports in as few files as can be.
// With --out DIR it goes there. With --if-possible (npm install) a failure is no error: the sources run then.
// Plain JavaScript that Node 18 can run.
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { HOME, writeStamps } from "../bin/program.js";

/** What is started by path, by the name that src/package-files.ts gives it. */
const PROGRAMS = {
  "command-line": "src/cli.ts",
  "bar-child": "src/native/bar-child.ts",
  "admin-child": "src/host/health/admin-child.ts",
};
/** What is started: it goes on with the command line, or with what the commonest command needs, in a file of its own. */
const START = { cli: "src/start.ts" };
const MATCH = { "start-match": "src/commands/match-cli.ts" };
/** The Node that the program runs with, where it is installed. */
const OWN_NODE = join(HOME, "node_modules", "node", "bin", "node");
const asked = process.argv.indexOf("--out");
const OUT = asked === -1 ? join(HOME, "dist") : resolve(process.argv[asked + 1] ?? "");
/** File systems keep times in steps: a file that changed this shortly before may change again and look the same. */
const TOO_FRESH_MS = 50;
const MAX_ATTEMPTS = 20;
/** It takes half a second. */
const CODE_CACHE_LIMIT_MS = 60_000;

/**
 * yargs measures its help with string-width, which loads Unicode's tables as it is imported: 20 ms, as much as all the
 * rest of a start. The width of text in ASCII is its length: the module is run at the first text that is not.
 */
const lazyStringWidth = {
  name: "lazy-string-width",
  setup(build) {
    build.onResolve({ filter: /^string-width$/ }, async ({ path, pluginData, ...from }) => {
      if (pluginData === "real") return undefined;
      const real = await build.resolve(path, { ...from, pluginData: "real" });
      return { ...real, namespace: "lazy" };
    });
    build.onLoad({ filter: /./, namespace: "lazy" }, ({ path }) => ({
      resolveDir: HOME,
      contents: `
        const PRINTABLE_ASCII = /^[ -~]*$/;
        export default (text, options) =>
          typeof text === "string" && PRINTABLE_ASCII.test(text)
            ? text.length
            : require(${JSON.stringify(path)}).default(text, options);`,
    }));
  },
};

/** The command line is beside what is started. */
const commandLineBeside = {
  name: "command-line-beside",
  setup(build) {
    build.onResolve({ filter: /^\.\/cli\.ts$/ }, () => ({ path: "./command-line.js", external: true }));
  },
};

async function bundle(esbuild, outdir) {
  const options = {
    absWorkingDir: HOME,
    outdir,
    bundle: true,
    // What one command needs alone is a file of its own, and is read when it is called.
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node24",
    // Names and lines stay as they were written: a stack trace is read by people.
    minify: false,
    // It has a binary, and is loaded where it is used.
    external: ["koffi"],
    // Packages in CommonJS (fastify's) ask for Node's own modules with require, which ES modules do not have.
    banner: {
      js: 'import { createRequire as createBundleRequire } from "node:module"; const require = createBundleRequire(import.meta.url);',
    },
    tsconfigRaw: {},
    metafile: true,
    logLevel: "warning",
  };
  const built = await Promise.all([
    esbuild.build({ ...options, entryPoints: PROGRAMS, plugins: [lazyStringWidth] }),
    // Of what these share with the rest there are two copies: one of them is all that a start reads.
    esbuild.build({ ...options, entryPoints: START, plugins: [commandLineBeside], banner: {} }),
    // Not a module but a script, of which V8 can keep what it compiled.
    esbuild.build({
      ...options,
      entryPoints: MATCH,
      splitting: false,
      format: "iife",
      globalName: "commands",
      define: { "import.meta.url": "bundleUrl" },
      banner: { js: "(function (require, bundleUrl) {" },
      footer: { js: "return commands;\n})" },
    }),
  ]);
  writeCodeCache(outdir);
  const files = new Set(built.flatMap(({ metafile }) => Object.keys(metafile.inputs)));
  return [...[...files].filter((path) => !path.startsWith("lazy:")), "package.json", "scripts/build.mjs"];
}

/** Without it `match` starts slower, and does the same: it fails no build. */
function writeCodeCache(outdir) {
  try {
    const node = existsSync(OWN_NODE) ? OWN_NODE : process.execPath;
    execFileSync(node, [join(HOME, "scripts", "code-cache.mjs"), outdir], {
      stdio: "pipe",
      timeout: CODE_CACHE_LIMIT_MS,
    });
  } catch (error) {
    console.error(`dist/start-match.cache was not written: ${error.message}. vgpu-agent match starts slower.`);
  }
}

/** Bundles until no file changed meanwhile, and puts the result in the place of what was there. */
async function build(esbuild) {
  const fresh = mkdtempSync(join(dirname(OUT), ".dist-"));
  try {
    for (let attempt = 1; ; attempt += 1) {
      const started = Date.now();
      const inputs = await bundle(esbuild, fresh);
      const newest = Math.max(...inputs.map((path) => statSync(join(HOME, path)).ctimeMs));
      if (newest < started - TOO_FRESH_MS) {
        writeStamps(HOME, fresh, inputs);
        break;
      }
      if (attempt === MAX_ATTEMPTS) throw new Error("the sources keep changing while they are built");
    }
    // A temporary directory is its maker's alone, and every user may run the program.
    chmodSync(fresh, 0o755);
    rmSync(OUT, { recursive: true, force: true });
    renameSync(fresh, OUT);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

try {
  await build(await import("esbuild"));
} catch (error) {
  if (!process.argv.includes("--if-possible")) throw error;
  const reason = error.code === "ERR_MODULE_NOT_FOUND" ? "esbuild is not installed" : error.message;
  console.error(`dist/ was not built: ${reason}. The sources run instead, and start slower.`);
}
