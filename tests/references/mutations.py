"""Changes of a signed bundle that no device may accept: seeded, one list for every language."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping
from typing import Any

MANIFEST, SIGNATURE = "bundle.json", "model.sig"
Files = dict[str, bytes]


def single_bytes(files: Mapping[str, bytes], count: int, rng: random.Random) -> list[dict[str, Any]]:
    """One byte becomes another: half of them where the bundle is described, half anywhere."""
    described, every = [MANIFEST, SIGNATURE], sorted(files)
    found = []
    while len(found) < count:
        name = rng.choice(described) if rng.random() < 0.5 else rng.choice(every)
        at, xor = rng.randrange(len(files[name])), rng.randrange(1, 256)
        before, after = (bytes([x]).isspace() for x in (files[name][at], files[name][at] ^ xor))
        if not (name == SIGNATURE and before and after):  # JSON's white space says nothing
            found.append({"kind": "byte", "file": name, "at": at, "xor": xor})
    return found


def structural(files: Mapping[str, bytes], count: int, rng: random.Random) -> list[dict[str, Any]]:
    """Files cut, grown, emptied, exchanged, renamed, removed; descriptions that say otherwise, less, more, or twice."""
    names, found = sorted(files), []
    while len(found) < count:
        name, other = rng.choice(names), rng.choice(names)
        data, kind = files[name], rng.randrange(8)
        if kind == 0:
            at = rng.randrange(len(data))
            found.append(spliced(name, at, len(data) - at))
        elif kind == 1:
            at = rng.randrange(len(data) + 1)
            found.append(spliced(name, at, 0, rng.randbytes(rng.choice((1, 2, 64)))))
        elif kind == 2:
            found.append({"kind": "remove", "file": name})
        elif kind == 3 and files[name] != files[other]:
            found.append({"kind": "swap", "file": name, "other": other})
        elif kind == 4:
            found.append(spliced(name, rng.randrange(len(data)), rng.choice((1, 8, 512))))
        else:
            described = rng.choice((MANIFEST, SIGNATURE))
            if (data := other_description(files[described], rng)) is not None:
                found.append(spliced(described, 0, len(files[described]), data))
        if found and is_same(changed(files, found[-1]), files):
            found.pop()
    return found


def is_same(after: Mapping[str, bytes], files: Mapping[str, bytes]) -> bool:
    """Whether a change is none: of the signature, white space, which says nothing in JSON, does not count."""
    return {**after, SIGNATURE: b"".join(after.get(SIGNATURE, b"").split())} == {
        **files,
        SIGNATURE: b"".join(files[SIGNATURE].split()),
    }


def other_description(data: bytes, rng: random.Random) -> bytes | None:
    """The same JSON with a value replaced, dropped, or said twice."""
    root = json.loads(data)
    places, stack = [], [root]
    while stack:
        x = stack.pop()
        keys = list(x) if isinstance(x, dict) else range(len(x)) if isinstance(x, list) else ()
        places += [(x, key) for key in keys]
        stack += [x[key] for key in keys]
    holder, key = rng.choice(places)
    kind = rng.randrange(4)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = rng.choice([None, "", 0, 1, [], {}, "x", "0" * 64, True])
    elif kind == 2 and isinstance(holder, dict):
        holder["x" + str(rng.randrange(100))] = holder[key]
    elif isinstance(holder, dict):  # twice: the first or the last counts, readers differ
        text = json.dumps(root)
        said = f"{json.dumps(key)}: "
        return (
            text.replace(said, f"{said}{rng.choice(['null', '0', '[]'])}, {said}", 1).encode() if said in text else None
        )
    changed = json.dumps(root).encode()
    return None if json.loads(changed) == json.loads(data) else changed


def spliced(name: str, at: int, remove: int, data: bytes = b"") -> dict[str, Any]:
    """Bytes from `at` on are removed, and others put there."""
    return {"kind": "splice", "file": name, "at": at, "remove": remove, "data": base64.b64encode(data).decode()}


def changed(files: Mapping[str, bytes], change: Mapping[str, Any]) -> Files:
    """The files after it."""
    found, name, kind = dict(files), change["file"], change["kind"]
    if kind == "byte":
        data = bytearray(found[name])
        data[change["at"]] ^= change["xor"]
        found[name] = bytes(data)
    elif kind == "splice":
        before, at = found[name], change["at"]
        found[name] = before[:at] + base64.b64decode(change["data"]) + before[at + change["remove"] :]
    elif kind == "remove":
        del found[name]
    else:
        found[name], found[change["other"]] = found[change["other"]], found[name]
    return found
