"""What people read of a smaller image. Names and paths come from outside: one line each, bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from functions.shrink_image.looking import Looked
from paydown.tickets import plain

LIMIT = 16_000
"""Characters: a ticket takes 20,000."""
SHOWN = 40
LINE = 200


def report(name: str, looked: Looked, hindered: Sequence[str]) -> str:
    """What was found, without the Dockerfile and what came of a trial. `hindered`: why there will be none."""
    image, kind = looked.original, "static" if looked.program.static else "dynamic"
    lines = [
        f"{name} ({image.digest[:19]}): {len(image.layers)} layers, {megabytes(image.size)}.",
        f"It starts {short(looked.path)}, a {kind} program of {megabytes(looked.size)}: {looked.tools.name}.",
    ]
    if looked.linked:
        lines += ["", *_linked(looked)]
    if looked.needs.kinds:
        lines += ["", "With it go:", *(f"  {short(one)}" for one in looked.needs.kinds[:SHOWN])]
    if looked.needs.named:
        lines += ["", "It also names these files of the image, which do not go along (`keep` takes them along):"]
        lines += [f"  {short(one)}" for one in looked.needs.named]
    if looked.made:
        lines += [
            "",
            f"Alone in an empty image it makes {megabytes(looked.made.size)}: {megabytes(looked.saves)} less.",
        ]
    else:
        lines += ["", f"Compiled statically, alone in an empty image, it saves about {megabytes(looked.saves)}."]
    if hindered:
        lines += ["", "It is not offered as an image:", *(f"  {short(one)}" for one in hindered)]
    return plain("\n".join(lines), LIMIT)


def _linked(looked: Looked) -> Iterator[str]:
    links = looked.linked
    if links is None:
        return
    interpreter = looked.program.interpreter or "nothing"
    at = links.interpreter if links.interpreter != interpreter else ""
    where = f" ({short(at)})" if at else ("" if links.interpreter else " (which is not in the image)")
    libraries = f"{len(links.libraries)} libraries ({megabytes(links.size)} in all)"
    yield f"It is loaded by {short(interpreter)}{where}, with {libraries}:"
    for name, path in list(links.libraries.items())[:SHOWN]:
        yield f"  {short(name)} => {short(path) if path else 'not found in the image'}"
    if len(links.libraries) > SHOWN:
        yield f"  and {len(links.libraries) - SHOWN} more"


def megabytes(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def short(text: str) -> str:
    """One line of what comes from outside; bytes that are no text are shown as question marks."""
    line = plain(" ".join(text.encode("utf-8", "replace").decode().split()))
    return line if len(line) <= LINE else f"{line[: LINE - 1]}…"
