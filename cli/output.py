r"""What the command prints: tables in a terminal, plain text elsewhere, JSON on request.

Everything passes through here, and hostile text (titles of tickets, labels, evidence) with it: what could steer a
terminal is shown as an escape such as `\x1b`. There is one way out for each form, so that no command can forget.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

STYLES = {
    "Verified": "green",
    "Failed": "red",
    "Unverified": "red",
    "Refused": "red",
    "Rejected": "red",
    "Held": "yellow",
    "failed": "red",
    "done": "green",
    "STOPPED": "bold red",
}
"""Colours of words that stand alone in a cell."""
_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def plain(text: Any) -> str:
    """The text with every control, format and line-breaking character as a visible escape."""
    return "".join(_shown(one) for one in str(text))


def _shown(character: str) -> str:
    if character.isprintable() or character == " " or unicodedata.category(character) not in _STEERING:
        return character
    code = ord(character)
    if code < 0x100:
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def moment(time: datetime | None) -> str:
    """A time in UTC, to the second; `-` for none."""
    return "-" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def span(seconds: float) -> str:
    """A length of time for people, in its largest unit: `45 s`, `12 min`, `3 h`, `2 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def compact(data: Any) -> str:
    """JSON data in one line."""
    return json.dumps(data, ensure_ascii=False, separators=(", ", ": "), default=str)


class Output:
    """Where a command prints. `wants_json`: only `data` prints, and the other methods do nothing."""

    def __init__(self, stdout: TextIO, stderr: TextIO, *, wants_json: bool = False) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.wants_json = wants_json
        self.fancy = stdout.isatty() and os.environ.get("TERM") != "dumb"

    def data(self, data: Any) -> None:
        """Print the answer as JSON, if JSON is wanted."""
        if self.wants_json:
            self.document(data)

    def document(self, data: Any) -> None:
        """Print JSON whatever is wanted; only ASCII, so that nothing in it steers a terminal."""
        print(json.dumps(data, indent=2, default=str).replace("\x7f", "\\u007f"), file=self.stdout)

    def raw(self, line: str) -> None:
        """Print one line as it is, whatever is wanted: JSON Lines, which must be ASCII."""
        print(line, file=self.stdout)

    def line(self, text: str = "") -> None:
        """Print one line."""
        if not self.wants_json:
            print(plain(text), file=self.stdout)

    def heading(self, text: str) -> None:
        """Print the title of what follows."""
        if self.wants_json:
            return
        if self.fancy:
            self._rich("\n" + plain(text), "bold")
        else:
            print(f"\n{plain(text)}", file=self.stdout)

    def fields(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Print names and values, one a line; those without a value are left out."""
        kept = [(plain(name), value) for name, value in pairs if value not in (None, "")]
        if self.wants_json or not kept:
            return
        width = max(len(name) for name, _ in kept)
        for name, value in kept:
            if self.fancy and str(value) in STYLES:
                self._rich(f"{name:{width}}  {plain(value)}", STYLES[str(value)])
            else:
                print(f"{name:{width}}  {plain(value)}", file=self.stdout)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, whole: Sequence[str] = ()) -> None:
        """Print a table. Columns in `whole` are never wrapped, whatever the width of the terminal."""
        if self.wants_json:
            return
        cells = [[plain(cell) for cell in row] for row in rows]
        if self.fancy:
            self._rich_table(columns, cells, whole)
            return
        lines = [[plain(column).upper() for column in columns], *cells]
        widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
        for line in lines:
            text = "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True))
            print(text.rstrip(), file=self.stdout)

    def note(self, text: str) -> None:
        """Tell the operator something that is not part of the answer."""
        print(plain(text), file=self.stderr)

    def error(self, message: str, code: int, faults: Sequence[tuple[str, str]] = ()) -> None:
        """Print why the command failed: with JSON wanted, as `{"error": …}` in place of the answer."""
        if self.wants_json:
            named = [{"path": path, "message": text} for path, text in faults]
            self.document({"error": {"code": code, "message": message, "faults": named}})
            return
        self.note(f"paydown: {message}")
        for path, text in faults:
            self.note(f"  {path or '(document)'}: {text}")

    def _rich(self, text: str, style: str) -> None:
        from rich.text import Text

        self._console().print(Text(text, style=style), soft_wrap=True)

    def _rich_table(self, columns: Sequence[str], rows: list[list[str]], whole: Sequence[str]) -> None:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(Text(plain(column)), no_wrap=column in whole, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
        self._console().print(table)

    def _console(self) -> Any:
        from rich.console import Console

        return Console(file=self.stdout, highlight=False, markup=False, emoji=False)
