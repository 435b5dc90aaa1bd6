"""Which instructions must stay in their order: what one writes, another may lie above, need, or lead elsewhere.

Where an image does not tell, the answer is that they must.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from functions.advise_image_layers.image import VARIABLES, Image, Instruction

EVERYWHERE = frozenset({"PATH", "HOME", "LD_LIBRARY_PATH", "LD_PRELOAD"})
"""Variables that whatever is run may need, by whatever name it goes."""
SHORTEST_VALUE = 3
"""Characters of a value by which what uses it is known."""
_MERGED = re.compile(r"/(bin|sbin|lib|lib32|lib64|libx32)(?=/|$)")
_LINKED = (("/usr/sbin", "/usr/bin"), ("/var/run", "/run"), ("/var/lock", "/run/lock"))
_LINKS = re.compile(r"(?<![\w.-])ln[\s\"']")


def folders(image: Image) -> dict[int, str]:
    """The working directory in which each instruction runs."""
    found, folder = {}, "/"
    for number, one in enumerate(image.instructions):
        found[number] = folder
        if one.word == "WORKDIR":
            folder = posixpath.join(folder, one.rest)
    return found


def tied(image: Image, moved: int, other: int, places: Mapping[int, str], *, asking: bool) -> bool:
    """Whether the moved instruction must stay before the other one. `places` are the folders of the image.

    `asking`: a person will be asked, so that only what is known to tie does.
    """
    one, two = image.instructions[moved], image.instructions[other]
    if "$" in one.body and two.word in ("ENV", "ARG"):
        return True
    if one.word == "LABEL":
        return two.word == "LABEL" and (one.cut or two.cut or bool(_labels(one) & _labels(two)))
    if one.word in VARIABLES:
        return not asking or _uses(one, two)
    if not one.copies:
        return True
    if two.copies:
        together = asking and one.target == two.target and one.target.endswith("/")
        if overlap(one.target, two.target):
            return not together
        return not asking and (
            not _made_before(image, moved, _shared(one.target, two.target), places) or _linked(image, moved, one, two)
        )
    match two.word:
        case "RUN":
            return not asking or names(two.rest, places[other], one)
        case "WORKDIR":
            # It makes the folder that it names, and those above; a copy below would make them otherwise. A step of a
            # Dockerfile at hand is written as it stands there, and means another place after it.
            place = posixpath.join(places[other], two.rest)
            made = _made_before(image, moved, _shared(one.target, place), places)
            return one.relative or overlap(one.target, place) or not made
        case "VOLUME":
            return any(overlap(one.target, place) for place in re.split(r'[\s\[\],"]+', two.rest) if place)
    return bool(two.diff_id)


def overlap(one: str, two: str) -> bool:
    """Whether one path lies in the other. What is copied to a folder without a slash may be a folder itself.

    Base images have links from /lib to /usr/lib and the like: such paths count as the same.
    """
    first, second = (_real(path) for path in (one, two))
    return first.startswith(second) or second.startswith(first)


def names(command: str, folder: str, copied: Instruction) -> bool:
    """Whether a command seems to need what was copied: it names it, or runs in the folder to which it went."""
    target = copied.target.rstrip("/")
    if folder != "/" and overlap(folder, copied.target):
        return True
    if not target:
        return True
    known = {target, *(posixpath.basename(source.rstrip("/")) for source in copied.sources if ":" not in source)}
    if not copied.target.endswith("/"):
        known.add(posixpath.basename(target))
    return any(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", command) for name in known if name not in ("", "."))


def _uses(one: Instruction, two: Instruction) -> bool:
    """Whether an instruction seems to need the variables of ENV or ARG: it names one, or has its value.

    The history has values in the place of names. What a program looks up by itself, nobody can tell: that is asked.
    """
    if one.variables & EVERYWHERE or (two.word in VARIABLES and one.variables & two.variables):
        return True
    told = f"{two.rest} {two.body} {two.target}"
    if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", told) for name in one.variables):
        return True
    values = {part.partition("=")[2].strip("\"'") for part in one.rest.split() if "=" in part}
    return any(len(value) >= SHORTEST_VALUE and value in told for value in values)


def _real(path: str) -> str:
    whole = posixpath.normpath(posixpath.join("/", path)).replace("//", "/")
    whole = _MERGED.sub(r"/usr/\1", whole, count=1) if _MERGED.match(whole) else whole
    for link, place in _LINKED:
        if whole == link or whole.startswith(f"{link}/"):
            whole = place + whole[len(link) :]
    return whole.rstrip("/") + "/"


def _shared(one: str, two: str) -> str:
    """The lowest folder that two targets lie in."""
    return posixpath.commonpath([posixpath.dirname(path.rstrip("/")) or "/" for path in (one, two)])


def _made_before(image: Image, number: int, folder: str, places: Mapping[int, str]) -> bool:
    """Whether a folder is there before an instruction: else the first copy below makes it, with its --chown."""
    made = (
        posixpath.join(places[at], image.instructions[at].rest)
        for at in range(image.own, number)
        if image.instructions[at].word == "WORKDIR"
    )
    return folder == "/" or any(f"{place.rstrip('/')}/".startswith(f"{folder}/") for place in made)


def _linked(image: Image, number: int, one: Instruction, two: Instruction) -> bool:
    """Whether a command before makes links where one of the targets lies: they may be one place."""
    above = {place for copied in (one, two) for place in _above(copied.target)}
    commands = (it.rest for it in image.instructions[:number] if it.word == "RUN" and _LINKS.search(it.rest))
    return any(re.search(rf"{re.escape(place)}(?![\w.-])", command) for command in commands for place in above)


def _labels(one: Instruction) -> set[str]:
    """The labels that an instruction may set; words of values that look like names count too."""
    before = (part.split()[-1:] for part in one.rest.split("=")[:-1])
    return {name.strip("\"'") for found in before for name in found} or set(one.rest.split()[:1])


def _above(target: str) -> list[str]:
    """A path and the folders above it, without the root."""
    parts = target.strip("/").split("/")
    return ["/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1) if parts[0]]
