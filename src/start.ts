import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { plainMatch } from "./commands/plain-match.ts";

/*
 * Where the built program starts (scripts/build.mjs): the commonest way to read a mediator's log runs before anything of
 * the command line is loaded. It is what src/cli.ts does with the same words.
 */

type Match = typeof import("./commands/match-cli.ts");

/**
 * src/commands/match-cli.ts with all that it needs, in one file, and what V8 compiled of it when it was built
 * (scripts/code-cache.mjs). V8 refuses that of another version or source, and compiles.
 */
function loadMatch(): Match {
  const url = new URL("./start-match.js", import.meta.url);
  const source = readFileSync(url, "utf8");
  const script = new vm.Script(source, {
    filename: fileURLToPath(url),
    cachedData: codeCache(),
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const load: (require: NodeJS.Require, url: string) => Match = script.runInThisContext();
  return load(createRequire(url), url.href);
}

function codeCache(): Buffer | undefined {
  try {
    return readFileSync(new URL("./start-match.cache", import.meta.url));
  } catch {
    return undefined;
  }
}

const given = plainMatch(process.argv.slice(2));
if (given === null) await import("./cli.ts");
else {
  process.exitCode = await loadMatch().runMatch(given);
  process.exit();
}
