"""Copies the SSM documents into template.yaml, which cannot include files.

The files `functions/<toil type>/documents/<name>.json` are the originals: `list_dangling_images.json` is the content of
the resource `ListDanglingImagesDocument`. A test compares them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent


def documents() -> dict[str, Any]:
    """The content of each document by the logical id of its resource."""
    found = {}
    for path in sorted(PROJECT.glob("functions/*/documents/*.json")):
        logical_id = "".join(word.capitalize() for word in path.stem.split("_")) + "Document"
        found[logical_id] = json.loads(path.read_text())
    return found


def with_contents(template: str) -> str:
    """The text of the template with the present content of each document in it."""
    for logical_id, content in documents().items():
        block = re.compile(rf"(\n  {logical_id}:\n(?:    .*\n)*?      Content:).*\n(?:        .*\n|      [\]}}].*\n)*")
        lines = json.dumps(content, indent=2, ensure_ascii=False).splitlines()
        text = "\n".join(["", *("        " + line for line in lines), ""])
        template, count = block.subn(lambda found, text=text: found[1] + text, template)
        if count != 1:
            raise ValueError(f"template.yaml has no resource {logical_id} with a Content")
    return template


def main() -> None:
    """Rewrite template.yaml."""
    path = PROJECT / "template.yaml"
    path.write_text(with_contents(path.read_text()))


if __name__ == "__main__":
    main()
