import type { Format } from "./formats.ts";
import { renderJson } from "./json.ts";
import { renderJunit } from "./junit.ts";
import { renderMarkdown } from "./markdown.ts";
import type { Report } from "./report.ts";
import { renderShort } from "./short.ts";
import { renderTty, type TtyOptions } from "./tty.ts";

export { FORMATS, type Format } from "./formats.ts";
export { type ExitCode, exitCodeOf } from "./words.ts";

/** What a renderer may have to know of the place it prints to; each takes what concerns it. */
export interface RenderOptions extends TtyOptions {
  /** JSON with an indent. */
  readonly pretty: boolean;
}

/** For a file or a pipe: no colour, 80 columns, UTF-8. */
export const PLAIN_OPTIONS: RenderOptions = { colour: false, width: 80, verbose: false, ascii: false, pretty: false };

/** The report as text that ends with a newline. Pure: nothing is read, nothing is printed. */
export function renderReport(report: Report, format: Format, options: RenderOptions = PLAIN_OPTIONS): string {
  switch (format) {
    case "tty":
      return renderTty(report, options);
    case "short":
      return renderShort(report, options);
    case "markdown":
      return renderMarkdown(report);
    case "json":
      return renderJson(report, options);
    case "junit":
      return renderJunit(report);
  }
}
