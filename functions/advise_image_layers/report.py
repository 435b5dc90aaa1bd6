"""What people read of the advice on one image. Instructions come from outside: one line each, bounded."""

from __future__ import annotations

from collections.abc import Iterator

from functions.advise_image_layers.advice import Advice, Findings, megabytes
from functions.advise_image_layers.looking import Looked
from paydown.tickets import plain

LAYERS = 40
LINE = 160
LIMIT = 16_000
"""Characters: a ticket takes 20,000, and DynamoDB's items have room beside it."""


def report(looked: Looked, findings: Findings) -> str:
    """The advice in plain text, without the Dockerfiles."""
    image = looked.image
    lines = [f"{looked.name} ({image.digest[:19]}): {len(image.diff_ids)} layers, {megabytes(image.size)}.", ""]
    lines += [_dockerfile(looked), ""] if looked.found else []
    lines += [*_rebuilt(looked), "", "Layers, the lowest first:", *_layers(looked)]
    lines += ["", _clean(looked.deep)] if looked.deep else []
    if findings.costs:
        now, then = (f"{cost.layers} layers ({megabytes(cost.size)})" for cost in findings.costs)
        lines += ["", f"A rebuild like the last one makes {now}; with the proposed Dockerfile {then}."]
    for number, one in enumerate(findings.advice, 1):
        saves = [megabytes(one.saves_bytes)] if one.saves_bytes else []
        saves += [f"{one.saves_layers} layers"] if one.saves_layers else []
        kind = ", ".join(filter(None, ("a question" if one.asks else "", f"saves {', '.join(saves)}" if saves else "")))
        lines += ["", f"{number}. {one.rule}{f' ({kind})' if kind else ''}"]
        place = _place(one)
        lines += [f"   {place}: {_short(one.instruction)}"] if place else []
        lines += [f"   {_clean(one.text)}"]
    if not findings.advice:
        lines += ["", "Nothing to advise."]
    return plain("\n".join(lines), LIMIT)


def _dockerfile(looked: Looked) -> str:
    found = looked.found
    if found is None:
        return ""
    where = f" of {found.url}" if found.url else ", as the builder attests it"
    return _short(f"Lines are those of {found.path}{where}{f' at {found.revision[:12]}' if found.revision else ''}.")


def _place(one: Advice) -> str:
    first, last = one.lines
    if first:
        return f"line {first}" if first == last else f"lines {first} to {last}"
    return str(one.number) if one.number else ""


def _rebuilt(looked: Looked) -> Iterator[str]:
    if looked.before is None:
        yield "The image before it is not known: nothing can be said of rebuilds."
        return
    before, rebuild = looked.before.digest[:19], looked.rebuild
    if rebuild is None:
        yield f"Compared with {before}: no layer was built again."
        return
    first = looked.image.instructions[rebuild.first]
    yield f"Compared with {before}: {rebuild.layers} layers ({megabytes(rebuild.size)}) were built again, from here on:"
    yield f"  {_short(first.line)}"
    if rebuild.base:
        yield "It stands on another base image."
    elif rebuild.edited:
        yield "The Dockerfile itself changed."


def _layers(looked: Looked) -> Iterator[str]:
    image = looked.image
    layered = [(number, one) for number, one in enumerate(image.instructions) if one.diff_id]
    for number, one in layered[:LAYERS]:
        whose = "base" if number < image.own else f"{number - image.own + 1:4}"
        again = "*" if looked.rebuild and number >= looked.rebuild.first else " "
        yield f"  {whose} {again} {megabytes(one.size):>9}  {_short(one.line)}"
    if len(layered) > LAYERS:
        yield f"  and {len(layered) - LAYERS} more"


def _short(text: str) -> str:
    line = _clean(text)
    return line if len(line) <= LINE else f"{line[: LINE - 1]}…"


def _clean(text: str) -> str:
    return plain(" ".join(text.split()))
