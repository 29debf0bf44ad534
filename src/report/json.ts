import type { Report } from "./report.ts";

export interface JsonOptions {
  /** Two spaces of indent, for people; otherwise one line. The document is the same. */
  readonly pretty: boolean;
}

/** JSON.stringify escapes C0 controls; these also act on a terminal: DEL, C1, bidirectional and zero-width formatting. */
const ACTIVE = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu;

/** The report itself: one document of schema/report-1.json and a newline. */
export function renderJson(report: Report, options: JsonOptions): string {
  const document = JSON.stringify(report, null, options.pretty ? 2 : 0);
  return `${document.replace(ACTIVE, unicodeEscapes)}\n`;
}

/** JSON's own escapes, a UTF-16 unit each: the document's value does not change. */
function unicodeEscapes(character: string): string {
  return Array.from({ length: character.length }, (_, index) => {
    return `\\u${character.charCodeAt(index).toString(16).padStart(4, "0")}`;
  }).join("");
}
