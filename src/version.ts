import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_HOME } from "./package-files.ts";

/** The version of the package, from its own package.json. */
export const TOOL_VERSION: string = versionOf(readFileSync(join(PACKAGE_HOME, "package.json"), "utf8"));

function versionOf(manifest: string): string {
  const parsed: unknown = JSON.parse(manifest);
  const version = typeof parsed === "object" && parsed !== null && "version" in parsed ? parsed.version : null;
  if (typeof version !== "string") throw new TypeError("package.json has no version");
  return version;
}
