import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LiveScreen } from "./live-screen.ts";

/** As much of a terminal as the screen uses: a cursor that goes up, and erasing to the end of line and page. */
class FakeTerminal {
  columns = 80;
  rows = 10;
  readonly lines: string[] = [];
  #row = 0;

  write(text: string): void {
    for (const part of text.match(/\u001b\[\d*[A-Z]|[\n\r]|[^\u001b\n\r]+/g) ?? []) {
      if (part.endsWith("A") && part.startsWith("\u001b")) this.#row -= Number(part.slice(2, -1));
      else if (part === "\u001b[H") this.#row = 0;
      else if (part === "\u001b[2J") this.lines.length = 0;
      else if (part === "\u001b[J") this.lines.length = Math.min(this.lines.length, this.#row);
      else if (part === "\n") this.#row += 1;
      else if (part !== "\u001b[K" && part !== "\r") this.lines[this.#row] = part;
    }
  }
}

describe("the screen of a count that is followed", () => {
  it("puts each state in place of the one before, below what was there already", () => {
    const terminal = new FakeTerminal();
    terminal.write("$ vgpu-agent\n");
    const screen = new LiveScreen(terminal);
    screen.draw("one\ntwo\nthree\n");
    screen.draw("four\nfive\n");
    assert.deepEqual(terminal.lines, ["$ vgpu-agent", "four", "five"]);
    terminal.write(screen.last("six\n"));
    assert.deepEqual(terminal.lines, ["$ vgpu-agent", "six"]);
  });

  it("cuts a state that is higher than the terminal, and not the last one", () => {
    const terminal = new FakeTerminal();
    const screen = new LiveScreen(terminal);
    const state = Array.from({ length: 30 }, (_, index) => `line ${index}\n`).join("");
    screen.draw(state);
    assert.deepEqual([terminal.lines.length, terminal.lines.at(-1)], [9, "(22 more lines)"]);
    terminal.write(screen.last(state));
    assert.equal(terminal.lines.length, 30);
  });

  it("starts on an empty screen when the width has changed: nobody knows where wrapped lines began", () => {
    const terminal = new FakeTerminal();
    const screen = new LiveScreen(terminal);
    screen.draw("one\ntwo\n");
    terminal.columns = 40;
    screen.draw("three\n");
    assert.deepEqual(terminal.lines, ["three"]);
  });
});
