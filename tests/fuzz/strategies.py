"""What hypothesis draws for each reader: files and texts that are nearly right, with anything in them."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from typing import Any

from hypothesis import strategies as st
from mutations import NUMBERS, PIECES, VALUES, places_of
from targets import TARGETS

ANY_TEXT = st.text(st.characters(codec=None), max_size=40)  # lone surrogates as well
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.sampled_from(NUMBERS + VALUES)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
CONTROLS = ["<|im_start|>", "<|im_end|>", "</s>", "<s>", "<unk>", "[INST]", "<", "|>", "\u2581", "\ue000", "\U000f0000"]


def written(value: Any) -> bytes:
    """JSON, surrogates as they are."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@st.composite
def altered(draw: Any, seeds: list[bytes]) -> bytes:
    """One of the seeds, which are JSON, with other values, keys and lengths here and there."""
    root = json.loads(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 3))):
        places = places_of(root)
        if not places:
            break
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        how = draw(st.integers(0, 3))
        if how == 0:
            del holder[key]
        elif how == 1 and isinstance(holder, dict):
            holder[draw(ANY_TEXT)] = holder.pop(key)
        elif how == 2 and isinstance(holder, list):
            holder.append(draw(JSON))
        else:
            holder[key] = draw(JSON)
    return written(root)


@st.composite
def altered_tensors(draw: Any, seeds: list[bytes]) -> bytes:
    """A safetensors file whose header, metadata within it, or numbers are others."""
    data = draw(st.sampled_from(seeds))
    length = int.from_bytes(data[:8], "little")
    header, tail = data[8 : 8 + length], data[8 + length :]
    how = draw(st.integers(0, 3))
    if how == 0:
        header = draw(altered([header]))
    elif how == 1:
        said = json.loads(header)
        for name, text in said["__metadata__"].items():
            if text.startswith("{"):
                said["__metadata__"][name] = draw(altered([text.encode()])).decode("utf-8", "surrogatepass")
        header = json.dumps(said).encode()
    elif how == 2:
        tail = draw(st.binary(min_size=len(tail), max_size=len(tail)))
    else:
        tail = tail[: draw(st.integers(0, len(tail)))] + draw(st.binary(max_size=16))
    said_length = draw(st.just(len(header)) | st.sampled_from([0, 2**31, 2**63, 2**64 - 1]))
    return said_length.to_bytes(8, "little") + header + tail


def pasted(pieces: Any) -> Any:
    """A text of pieces and of anything."""
    return st.lists(st.sampled_from(pieces) | ANY_TEXT, max_size=8).map("".join)


NAMES = st.sampled_from(["messages", "m", "x", "loop", "bos_token", "namespace", "undefined", "m.content", "m['role']"])
CALLS = ["range", "upper", "split", "format", "join", "keys", "items", "strip", "replace", "dict", "namespace"]
FILTERS = ["upper", "length", "list", "join", "tojson", "trim", "default", "replace", "map", "batch", "indent", "sort"]


def larger(inner: Any) -> Any:
    """An expression around others."""
    many = st.lists(inner, max_size=2).map(", ".join)
    operators = st.sampled_from(["+", "*", "~", "-", "==", "in", "and", "%", "**", "//", "is not"])
    return (
        st.tuples(inner, operators, inner).map(lambda x: f"({x[0]} {x[1]} {x[2]})")
        | st.tuples(inner, st.sampled_from(FILTERS), many).map(lambda x: f"({x[0]})|{x[1]}({x[2]})")
        | st.tuples(inner, st.sampled_from(CALLS), many).map(lambda x: f"({x[0]}).{x[1]}({x[2]})")
        | st.tuples(st.sampled_from(CALLS), many).map(lambda x: f"{x[0]}({x[1]})")
        | st.tuples(inner, inner).map(lambda x: f"{x[0]}[{x[1]}]")
        | many.map(lambda x: f"[{x}]")
    )


EXPRESSIONS = st.recursive(
    NAMES | st.sampled_from(["0", "-1", "99999", "1e9", "10**9", "'a'", "'ab' * 999", "none", "true", "{}"]),
    larger,
    max_leaves=5,
)


def blocks(inner: Any) -> Any:
    """A template around others."""
    body = st.lists(inner, max_size=3).map("".join)
    return (
        st.tuples(EXPRESSIONS, body).map(lambda x: f"{{% for m in {x[0]} %}}{x[1]}{{% endfor %}}")
        | st.tuples(EXPRESSIONS, body, body).map(lambda x: f"{{% if {x[0]} %}}{x[1]}{{% else %}}{x[2]}{{% endif %}}")
        | st.tuples(EXPRESSIONS).map(lambda x: f"{{% set x = {x[0]} %}}")
        | st.tuples(body, EXPRESSIONS).map(lambda x: f"{{% macro f(x) %}}{x[0]}{{% endmacro %}}{{{{ f({x[1]}) }}}}")
        | st.tuples(body, st.sampled_from(FILTERS)).map(lambda x: f"{{% filter {x[1]} %}}{x[0]}{{% endfilter %}}")
    )


TEMPLATES = st.recursive(ANY_TEXT | EXPRESSIONS.map(lambda x: f"{{{{ {x} }}}}"), blocks, max_leaves=5)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]) | ANY_TEXT, "content": pasted(CONTROLS) | JSON}
)


@st.composite
def packed(draw: Any) -> bytes:
    """An archive: names that lead elsewhere, contents that were much, a piece of it missing."""
    names = st.sampled_from(["bundle.json", "../x", "/etc/x", "a/b", "tokenizer.json", "x\x00y"]) | ANY_TEXT
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in draw(st.lists(st.tuples(names, st.binary(max_size=64)), max_size=4)):
            name = name.encode("utf-8", "replace").decode()
            entry = zipfile.ZipInfo(name or "x")
            if entry.filename not in file.namelist():
                file.writestr(entry, data * draw(st.sampled_from([1, 1, 4096])))
    data = draw(st.just(made.getvalue()) | st.binary(max_size=64).map(gzip.compress))
    return data[: draw(st.just(len(data)) | st.integers(0, len(data)))] + draw(st.binary(max_size=8))


@st.composite
def spliced(draw: Any, seeds: list[bytes]) -> bytes:
    """A seed with something else in a place of it."""
    data = draw(st.sampled_from(seeds))
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.binary(max_size=24) | st.sampled_from(PIECES)) + data[at + draw(st.integers(0, 24)) :]


def utf8(texts: Any) -> Any:
    return texts.map(lambda x: x.encode("utf-8", "surrogatepass"))


def of(name: str) -> list[bytes]:
    return TARGETS[name].seeds


STOPS = st.lists(st.text("abc|\u00e9", max_size=3), max_size=4).map(",".join)
WRITTEN = st.lists(st.text("abc\u00e9", max_size=4)).map("|".join)
STRATEGIES: dict[str, Any] = {
    "manifest": altered(of("manifest")) | JSON.map(written),
    "adapter": altered_tensors(of("adapter")),
    "tokenizer": altered(of("tokenizer")),
    "text": utf8(pasted(CONTROLS)),
    "chat_template": utf8(TEMPLATES),
    "messages": st.lists(MESSAGE, max_size=4).map(written) | JSON.map(written),
    "stop_strings": utf8(st.tuples(STOPS, WRITTEN).map("|".join)),
    "conversation": altered_tensors(of("conversation")),
    "versions": altered(of("versions")) | JSON.map(written),
    "archive": packed(),
    "graph": spliced(of("graph")),
    "signature": altered(of("signature")),
}
