"""Files as accidents leave them: the same ones at every run."""

import random
import re
from collections.abc import Iterator

NUMBERS = [b"0", b"-1", b"1", b"99999999999", b"1e9", b"18446744073709551616"]
EXTREMES = [0, 1, 255, 2**15, 2**31 - 1, 2**31, 2**63 - 1, 2**64 - 1]
PIECES = [b'"', b"\n", b"\r", b"\r\n", b",", b"\t", b"\0", b"\xff", b'""', b'"\n"', b",,,,,,\xff\n"]


def mutations(whole: bytes, count: int, text: bool = False) -> Iterator[bytes]:
    """A file changed in so many ways: bits, bytes, pieces and numbers, its end cut off or longer.

    Args:
        whole: the file as it should be.
        count: of changed files.
        text: whether to put what matters in delimited text into it too.
    """
    for seed in range(count):
        chance = random.Random(seed)
        content = bytearray(whole)
        for _ in range(chance.choice([1, 1, 1, 2, 4])):
            _change(content, chance, text)
        yield bytes(content)


def _change(content: bytearray, chance: random.Random, text: bool) -> None:
    size = len(content)
    if size == 0:
        return
    at = chance.choice([chance.randrange(size), int(size * chance.random() ** 4)])
    at = chance.choice([at, at, size - 1 - at])  # headers lie at the beginning, or at the end
    match chance.randrange(9 + 3 * text):
        case 0 | 1:
            content[at] ^= 1 << chance.randrange(8)
        case 2:
            del content[at : at + chance.choice([1, 4, 50])]
        case 3:
            content[at:at] = chance.randbytes(chance.choice([1, 4, 30]))
        case 4:
            del content[at:]
        case 5:
            begin = chance.randrange(size)
            content[at:at] = content[begin : begin + chance.choice([4, 16, 200])]
        case 6:
            width, order = chance.choice([2, 4, 8]), chance.choice(["little", "big"])
            extreme = chance.choice(EXTREMES) % 2 ** (8 * width)
            content[at : at + width] = extreme.to_bytes(width, order)
        case 7:
            if numbers := list(re.finditer(rb"\d+", content)):
                number = chance.choice(numbers)
                content[number.start() : number.end()] = chance.choice(NUMBERS)
        case 8:
            content += bytes(chance.choice([1, 100]))
        case 9 | 10:
            content[at:at] = chance.choice(PIECES)
        case 11:
            content[:] = content.replace(b"\n", chance.choice([b"\r", b"\r\n", b""]))
