"""Changes of bytes that readers have to survive: seeded, so that a run can be repeated."""

from __future__ import annotations

import json
import random
from typing import Any

NUMBERS = [
    0,
    -1,
    1,
    2**31 - 1,
    2**31,
    2**53,
    2**63 - 1,
    2**64,
    -(2**63),
    1e308,
    0.5,
    float("inf"),
    float("nan"),
    10**40,
]
LENGTHS = [0, 1, 7, 255, 65536, 2**31 - 1, 2**32, 2**53, 2**63, 2**64 - 1]
VALUES: list[Any] = [
    None,
    True,
    False,
    "",
    "..",
    "/etc/passwd",
    "a/../../b",
    "\x00",
    "\ud800",
    [],
    {},
    [[]],
    "x" * 5000,
]
PIECES = [
    *(
        b"{{",
        b"}}",
        b"{%",
        b"%}",
        b'"',
        b"\\",
        b"\\ud800",
        b"[" * 64,
        b"{" * 64,
        b"\xff\xfe",
        b"\x00",
        b"<|im_end|>",
        b"</s>",
    ),
    *(b"range(99999)", b" * 99999", b" recursive", b"{% for x in range(9999) %}", b"{% endfor %}", b"{{ x ~ x }}"),
    *(
        b".format(",
        b"__class__",
        b"\xe2\x80\xae",
        b"\xf0\x9f\x99\x82",
        b"1e999",
        b"-1",
        b"18446744073709551615",
        b"NaN",
    ),
]


def changed(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """`data` after a few random changes; `others` lend it pieces."""
    if rng.random() < 0.3 and (found := changed_json(data, rng)) is not None:
        return found
    buffer = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        change(buffer, others, rng)
    return bytes(buffer[: 1 << 16])


def change(buffer: bytearray, others: list[bytes], rng: random.Random) -> None:
    """One change in place."""
    at, kind = rng.randrange(len(buffer) + 1), rng.randrange(9)
    if kind == 0 and buffer:
        buffer[at % len(buffer)] ^= 1 << rng.randrange(8)
    elif kind == 1 and buffer:
        buffer[at % len(buffer)] = rng.randrange(256)
    elif kind == 2:
        del buffer[at : at + rng.choice((1, 2, 8, 64))]
    elif kind == 3:
        buffer[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 2, 8))))
    elif kind == 4:
        buffer[at:at] = rng.choice(PIECES)
    elif kind == 5:
        start = rng.randrange(len(buffer) + 1)
        buffer[at:at] = buffer[start : start + rng.choice((2, 8, 64, 512))]
    elif kind == 6:
        other = rng.choice(others)
        start = rng.randrange(len(other) + 1)
        buffer[at : at + rng.choice((0, 8, 64))] = other[start : start + rng.choice((8, 64, 512))]
    elif kind == 7:
        buffer[at : at + 8] = rng.choice(LENGTHS).to_bytes(8, "little")
    else:
        del buffer[at:]


def changed_json(data: bytes, rng: random.Random) -> bytes | None:
    """The same JSON with one value of it replaced, dropped, repeated or moved; None where it is none."""
    head = b""
    if len(data) > 8 and data[8:9] == b"{":  # safetensors: the header's length stands in front
        length = int.from_bytes(data[:8], "little")
        head, data, tail = data[:8], data[8 : 8 + length], data[8 + length :]
    try:
        root = json.loads(data)
    except (ValueError, RecursionError):
        return None
    places = places_of(root)
    if not places:
        return None
    holder, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = rng.choice(NUMBERS)
    elif kind == 2:
        holder[key] = rng.choice(VALUES)
    elif kind == 3:
        other, name = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[name])) if name in other or isinstance(other, list) else None
    elif kind == 4 and isinstance(holder, dict):
        holder[rng.choice(["x", "..", "a/b", "", "\ud800", "__proto__"])] = holder.pop(key)
    elif isinstance(holder, list):
        holder.append(holder[key])
    text = json.dumps(root).encode("utf-8", "surrogatepass")
    if rng.random() < 0.05:
        text = text.replace(b"{", b'{"x": 1, "x": 2, ', 1)
    return len(text).to_bytes(8, "little") + text + tail if head else text


def places_of(root: Any) -> list[tuple[Any, Any]]:
    """Every value within JSON: the object or list that holds it, and its key there."""
    places: list[tuple[Any, Any]] = []
    stack = [root]
    while stack:
        x = stack.pop()
        keys = list(x) if isinstance(x, dict) else range(len(x)) if isinstance(x, list) else ()
        places += [(x, key) for key in keys]
        stack += [x[key] for key in keys]
    return places
