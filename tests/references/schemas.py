"""Random JSON schemas whose values have a bounded length, for hypothesis."""

from hypothesis import strategies as st

NAMES = st.text("abcdefg", min_size=1, max_size=4)

SCALARS = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.tuples(st.integers(-50, 50), st.integers(0, 100)).map(
        lambda x: {"type": "integer", "minimum": x[0], "maximum": x[0] + x[1]}
    ),
    st.tuples(st.integers(-9, 9), st.integers(1, 9)).map(
        lambda x: {"type": "number", "minimum": x[0], "maximum": x[0] + x[1]}
    ),
    st.tuples(st.integers(0, 2), st.integers(0, 4)).map(
        lambda x: {"type": "string", "minLength": x[0], "maxLength": sum(x)}
    ),
    st.lists(NAMES | st.integers(-5, 5) | st.booleans() | st.none(), min_size=1, max_size=3).map(lambda x: {"enum": x}),
)


def _containers(inner):
    arrays = st.tuples(inner, st.integers(0, 1), st.integers(0, 2)).map(
        lambda x: {"type": "array", "items": x[0], "minItems": x[1], "maxItems": x[1] + x[2]}
    )
    objects = st.tuples(st.dictionaries(NAMES, inner, max_size=3), st.integers(0, 7)).map(
        lambda x: {
            "type": "object",
            "properties": x[0],
            "required": [name for i, name in enumerate(x[0]) if x[1] >> i & 1],
            "additionalProperties": False,
        }
    )
    return arrays | objects


SCHEMAS = st.recursive(SCALARS, _containers, max_leaves=6)
