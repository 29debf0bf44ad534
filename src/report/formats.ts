/** How a report can be printed. Apart from the renderers, because the help names them and does not render. */
export const FORMATS = ["tty", "short", "markdown", "json", "junit"] as const;
export type Format = (typeof FORMATS)[number];
