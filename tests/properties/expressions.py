"""DynamoDB's condition and update expressions, as far as the ledger uses them; anything else is refused loudly.

Attribute values are in the wire format (`{"S": "x"}`). Source: the developer guide's pages "Expressions".
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Value = Mapping[str, Any]
Item = dict[str, Any]
Path = tuple[str, ...]

_TOKEN = re.compile(r"\s*(?:([#:]?\w+)|(<=|>=|<>|[=<>+\-(),.]))")
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")


class InvalidExpression(Exception):
    """What DynamoDB answers with a ValidationException."""


@dataclass
class Names:
    """The placeholders of one request, and which of them were used: an unused one is an error."""

    names: Mapping[str, str]
    values: Mapping[str, Value]
    used: set[str] = field(default_factory=set)

    def name(self, word: str) -> str:
        if not word.startswith("#"):
            return word
        if word not in self.names:
            raise InvalidExpression(f"{word} is not defined")
        self.used.add(word)
        return self.names[word]

    def value(self, word: str) -> Value:
        if word not in self.values:
            raise InvalidExpression(f"{word} is not defined")
        self.used.add(word)
        return self.values[word]

    def unused(self) -> set[str]:
        return {*self.names, *self.values} - self.used


Node = tuple[Any, ...]


@functools.lru_cache(maxsize=10_000)
def _tokens(expression: str) -> tuple[str, ...]:
    found, at = [], 0
    while at < len(expression.rstrip()):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise InvalidExpression(f"syntax error at {expression[at:]!r}")
        found.append(match[1] or match[2])
        at = match.end()
    return tuple(found)


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, expression: str) -> None:
        self.tokens = _tokens(expression)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if (found := self.next()) != token:
            raise InvalidExpression(f"{token!r} expected, {found!r} found")

    def end(self) -> None:
        if self.peek():
            raise InvalidExpression(f"{self.peek()!r} is too much")

    def condition(self) -> Node:
        left = self._conjunction()
        while self.peek() == "OR":
            self.next()
            left = ("or", left, self._conjunction())
        return left

    def _conjunction(self) -> Node:
        left = self._negation()
        while self.peek() == "AND":
            self.next()
            left = ("and", left, self._negation())
        return left

    def _negation(self) -> Node:
        if self.peek() == "NOT":
            self.next()
            return ("not", self._negation())
        if self.peek() == "(":
            self.next()
            inner = self.condition()
            self.expect(")")
            return inner
        if self.peek() in ("attribute_exists", "attribute_not_exists", "begins_with"):
            return self._function()
        left = self.operand()
        sign = self.next()
        if sign == "BETWEEN":
            low = self.operand()
            self.expect("AND")
            return ("and", ("compare", ">=", left, low), ("compare", "<=", left, self.operand()))
        if sign not in _COMPARISONS:
            raise InvalidExpression(f"{sign!r} is no comparison known here")
        return ("compare", sign, left, self.operand())

    def _function(self) -> Node:
        name = self.next()
        self.expect("(")
        arguments = [self.operand()]
        while self.peek() == ",":
            self.next()
            arguments.append(self.operand())
        self.expect(")")
        return (name, *arguments)

    def operand(self) -> Node:
        if self.peek() in ("if_not_exists", "list_append"):
            return self._function()
        token = self.next()
        if token.startswith(":"):
            return ("value", token)
        if not re.fullmatch(r"#?\w+", token):
            raise InvalidExpression(f"{token!r} is no operand")
        parts = [token]
        while self.peek() == ".":
            self.next()
            parts.append(self.next())
        return ("path", *parts)

    def changes(self) -> list[Node]:
        """The clauses of an update expression, flat: (set, path, operand), (remove, path), (add, path, operand)."""
        found: list[Node] = []
        seen: set[str] = set()
        while clause := self.next():
            if clause not in ("SET", "REMOVE", "ADD") or clause in seen:
                raise InvalidExpression(f"{clause!r} is no clause known here, or comes twice")
            seen.add(clause)
            while True:
                found.append(self._change(clause))
                if self.peek() != ",":
                    break
                self.next()
        return found

    def _change(self, clause: str) -> Node:
        path = self.operand()
        if path[0] != "path":
            raise InvalidExpression(f"{clause} wants a path")
        if clause == "REMOVE":
            return ("remove", path)
        if clause == "ADD":
            return ("add", path, self.operand())
        self.expect("=")
        right = self.operand()
        if self.peek() in ("+", "-"):
            right = ("plus" if self.next() == "+" else "minus", right, self.operand())
        return ("set", path, right)


@functools.lru_cache(maxsize=10_000)
def _parsed_condition(expression: str) -> Node:
    parser = _Parser(expression)
    node = parser.condition()
    parser.end()
    return node


@functools.lru_cache(maxsize=10_000)
def _parsed_changes(expression: str) -> list[Node]:
    return _Parser(expression).changes()


def holds(expression: str, names: Names, item: Item | None) -> bool:
    """Whether a condition holds for an item (None: there is none). Raises InvalidExpression."""
    return _true(_parsed_condition(expression), names, item or {})


def _true(node: Node, names: Names, item: Item) -> bool:
    match node[0]:
        case "or":
            return bool(_true(node[1], names, item) | _true(node[2], names, item))
        case "and":
            return bool(_true(node[1], names, item) & _true(node[2], names, item))
        case "not":
            return not _true(node[1], names, item)
        case "attribute_exists":
            return _operand(node[1], names, item) is not None
        case "attribute_not_exists":
            return _operand(node[1], names, item) is None
        case "begins_with":
            text, prefix = _operand(node[1], names, item), _operand(node[2], names, item)
            return text is not None and prefix is not None and text.get("S", "").startswith(prefix["S"])
    _, sign, left, right = node
    return _compared(sign, _operand(left, names, item), _operand(right, names, item))


def _compared(sign: str, left: Value | None, right: Value | None) -> bool:
    if left is None or right is None:
        return False  # what is not there equals nothing, and differs from nothing
    (kind, one), (other_kind, other) = _comparable(left), _comparable(right)
    if sign in ("=", "<>"):
        return (sign == "=") == ((kind, one) == (other_kind, other))
    if kind != other_kind or kind not in ("N", "S", "B"):
        return False
    orders: dict[str, Callable[[], bool]] = {
        "<": lambda: one < other,
        "<=": lambda: one <= other,
        ">": lambda: one > other,
        ">=": lambda: one >= other,
    }
    return orders[sign]()


def _comparable(value: Value) -> tuple[str, Any]:
    ((kind, content),) = value.items()
    return kind, Decimal(content) if kind == "N" else content


def _path(node: Node, names: Names) -> Path:
    return tuple(names.name(part) for part in node[1:])


def _at(item: Item, path: Path) -> Value | None:
    found: Any = {"M": item}
    for part in path:
        if not isinstance(found, dict) or "M" not in found or part not in found["M"]:
            return None
        found = found["M"][part]
    return found  # type: ignore[no-any-return]  # a value of the wire format


def _operand(node: Node, names: Names, item: Item) -> Value | None:
    match node[0]:
        case "value":
            return names.value(node[1])
        case "path":
            return _at(item, _path(node, names))
    raise InvalidExpression(f"{node[0]} is no operand here")


def _computed(node: Node, names: Names, item: Item) -> Value:
    """The right side of SET, from the item as it was before."""
    match node[0]:
        case "if_not_exists":
            here, otherwise = _operand(node[1], names, item), _computed(node[2], names, item)
            return otherwise if here is None else here
        case "list_append":
            one, other = _computed(node[1], names, item), _computed(node[2], names, item)
            if "L" not in one or "L" not in other:
                raise InvalidExpression("list_append wants two lists")
            return {"L": [*one["L"], *other["L"]]}
        case "plus" | "minus":
            one, other = _computed(node[1], names, item), _computed(node[2], names, item)
            if "N" not in one or "N" not in other:
                raise InvalidExpression("an incorrect operand type: only numbers are added")
            sign = 1 if node[0] == "plus" else -1
            return {"N": str(Decimal(one["N"]) + sign * Decimal(other["N"]))}
    found = _operand(node, names, item)
    if found is None:
        raise InvalidExpression("the expression refers to an attribute that does not exist in the item")
    return found


def changed(expression: str, names: Names, item: Item | None, key: Item) -> Item:
    """The item after an update. Raises InvalidExpression."""
    before = item or dict(key)
    after: Item = copy.deepcopy(before)
    paths: list[Path] = []
    for change in _parsed_changes(expression):
        path = _path(change[1], names)
        if path[0] in key:
            raise InvalidExpression(f"{path[0]} is part of the key")
        if any(path[: len(other)] == other or other[: len(path)] == path for other in paths):
            raise InvalidExpression("two document paths overlap")
        paths.append(path)
        _apply(change, path, names, before, after)
    return after


def _apply(change: Node, path: Path, names: Names, before: Item, after: Item) -> None:
    parent = {"M": after} if len(path) == 1 else _at(after, path[:-1])
    value = None if change[0] == "remove" else _computed(change[2], names, before)
    if parent is None or "M" not in parent:
        raise InvalidExpression("the document path is invalid for update")
    inside = parent["M"]
    if change[0] == "remove":
        inside.pop(path[-1], None)
    elif change[0] == "set":
        inside[path[-1]] = copy.deepcopy(value)
    else:
        if value is None or "N" not in value or len(path) > 1:
            raise InvalidExpression("ADD is for top-level numbers here")
        there = inside.get(path[-1], {"N": "0"})
        if "N" not in there:
            raise InvalidExpression("an incorrect operand type for ADD")
        inside[path[-1]] = {"N": str(Decimal(there["N"]) + Decimal(value["N"]))}
