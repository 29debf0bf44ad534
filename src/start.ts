import { plainMatch } from "./commands/plain-match.ts";

/*
 * Where the built program starts (scripts/build.mjs): the commonest way to read a mediator's log runs before anything of
 * the command line is loaded. It is what src/cli.ts does with the same words.
 */

const given = plainMatch(process.argv.slice(2));
if (given === null) await import("./cli.ts");
else {
  const { runMatch } = await import("./commands/match-cli.ts");
  process.exitCode = await runMatch(given);
  process.exit();
}
