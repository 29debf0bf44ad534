/** Colour as asked for; else on a terminal that takes it. */
export function wantsColour(asked: boolean | undefined): boolean {
  const plain = process.env["NO_COLOR"] !== undefined || process.env["TERM"] === "dumb";
  return asked ?? (process.stdout.isTTY === true && !plain);
}

/** Columns of the terminal; a pipe or file has none. */
export function terminalWidth(otherwise: number): number {
  return process.stdout.columns ?? otherwise;
}

/** Glyphs need UTF-8; with no locale set at all modern terminals speak it. */
export function isUtf8(): boolean {
  const locale = process.env["LC_ALL"] || process.env["LC_CTYPE"] || process.env["LANG"] || "";
  return locale === "" || /utf-?8/i.test(locale);
}
