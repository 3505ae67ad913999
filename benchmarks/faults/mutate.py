"""Bytes and values that no reader expects."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 62,
    (1 << 64) - 1,
)
MARKS = (b'"', b"\n", b"\r", b"\r\n", b",", b"\t", b"\0", b"\xff", b'""', b'"\n"', b",,,,,,\xff\n")
NASTY: list[Any] = [
    -1,
    0,
    1,
    2**31,
    2**40,
    2**62,
    2**63,
    2**64,
    10**30,
    1e308,
    0.5,
    True,
    None,
    "",
    "x",
    "F99",
    "I4",
    [],
    {},
    [[1]],
    [-1, 8],
    [2**62, 8],
    [2**40, 2**40],
    [0, 2**62],
    [1] * 100,
    {"a": {}},
]


def pick(random: np.random.Generator, choices: Sequence[T]) -> T:
    """One of the choices, whatever they are."""
    return choices[int(random.integers(len(choices)))]


def chance(random: np.random.Generator, share: float) -> bool:
    return random.random() < share


def mutate_bytes(content: bytes, random: np.random.Generator) -> bytes:
    """The content after one to four changes of any kind, often near its ends, where headers lie."""
    for _ in range(int(random.integers(1, 5))):
        content = pick(random, CHANGES)(bytearray(content), _place(content, random), random)
    return bytes(content)


def _place(content: bytes, random: np.random.Generator) -> int:
    near = min(len(content), 400)
    where = random.integers(3)
    if where == 0:
        return int(random.integers(near + 1))
    if where == 1:
        return len(content) - int(random.integers(near + 1))
    return int(random.integers(len(content) + 1))


def _flip(content: bytearray, place: int, random: np.random.Generator) -> bytes:
    if place < len(content):
        content[place] ^= 1 << int(random.integers(8))
    return content


def _set(content: bytearray, place: int, random: np.random.Generator) -> bytes:
    width = pick(random, (1, 2, 4, 8))
    number = pick(random, NUMBERS) % (1 << 8 * width)
    order = pick(random, ("little", "big"))
    content[place : place + width] = number.to_bytes(width, order)
    return content


def _cut(content: bytearray, place: int, random: np.random.Generator) -> bytes:
    return content[:place]


def _remove(content: bytearray, place: int, random: np.random.Generator) -> bytes:
    del content[place : place + int(random.integers(1, 200))]
    return content


def _insert(content: bytearray, place: int, random: np.random.Generator) -> bytes:
    content[place:place] = random.bytes(int(random.integers(1, 200)))
    return content


def _mark(content: bytearray, place: int, random: np.random.Generator) -> bytes:
    """What matters in delimited text."""
    content[place:place] = pick(random, MARKS)
    return content


def _ends(content: bytearray, place: int, random: np.random.Generator) -> bytes:
    return content.replace(b"\n", pick(random, (b"\r", b"\r\n", b"")))


def _repeat(content: bytearray, place: int, random: np.random.Generator) -> bytes:
    part = content[place : place + int(random.integers(1, 2000))]
    content[place:place] = part * int(random.integers(1, 4))
    return content


def _move(content: bytearray, place: int, random: np.random.Generator) -> bytes:
    size, other = int(random.integers(1, 200)), int(random.integers(len(content) + 1))
    content[place : place + size] = content[other : other + size]
    return content


CHANGES: list[Callable[[bytearray, int, np.random.Generator], bytes]] = [
    _flip,
    _flip,
    _flip,
    _set,
    _set,
    _cut,
    _remove,
    _insert,
    _repeat,
    _move,
    _mark,
    _mark,
    _ends,
]


def mutate_json(content: Any, random: np.random.Generator) -> Any:
    """JSON content of which a value, anywhere in it, is another, gone, or under another name."""
    content = json.loads(json.dumps(content))
    places = list(_places(content))
    for _ in range(int(random.integers(1, 4))):
        holder, key = pick(random, places)
        change = random.integers(4)
        if change == 0 and isinstance(holder, dict):
            holder.pop(key, None)
        elif change == 1 and isinstance(holder, dict) and key in holder:
            holder[pick(random, ("", "x" * 10_000, "../../x", "\u0000", key + key))] = holder[key]
        elif isinstance(holder, dict) or key < len(holder):
            holder[key] = pick(random, NASTY)
    return content


def _places(content: Any) -> Any:
    keys = content if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield content, key
        if isinstance(content[key], dict | list) and content[key]:
            yield from _places(content[key])
