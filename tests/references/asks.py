"""What a crowd of threads asks one model: a few hundred requests, each with the answer that one thread alone gets."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgetune_runtime import Classification, Generation
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

WORDS = "once upon a time the sun was warm and what is it like to be happy in the rain of an old town"
DRAWS = ({}, {"temperature": 0.8}, {"temperature": 1.2, "top_k": 40}, {"temperature": 0.9, "top_p": 0.9, "min_p": 0.01})
MORE = (
    {}, {}, {"stop": ["e", "th"]}, {"logprobs": 1}, {"repetition_penalty": 1.3, "presence_penalty": 0.5},
    {"prompt_lookup_num_tokens": 6}, {"num_beams": 2}, {"n": 2},
)  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """One request. Its adapters are contents: which name they have at the time is the crowd's affair."""

    number: int
    call: str
    texts: object
    contents: tuple[str | None, ...]
    """One for each text."""
    options: dict

    @property
    def is_plain(self) -> bool:
        """One text and one result, which a stream can give too."""
        return len(self.contents) == 1 and "n" not in self.options

    @property
    def is_cut_anywhere(self) -> bool:
        """The beginning of its answer is the answer of a call that is stopped."""
        return self.is_plain and self.call == "generate" and not {"stop", "num_beams"} & set(self.options)


def written_contents(files: dict[str, Path], folder: Path, variants: int) -> dict[str, Path]:
    """The adapters of a bundle, and of each as many others: the same tensors times a number near 1."""
    found = {}
    for name, path in files.items():
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        for i in range(variants + 1):
            found[f"{name} {i}"] = folder / f"{name}-{i}.safetensors"
            scaled = {k: (v * (1 + 0.2 * i)).astype(v.dtype) for k, v in tensors.items()}
            save_file(scaled, found[f"{name} {i}"], metadata=metadata)
    return found


def drawn_asks(model, contents: Sequence[str], count: int, new_tokens: int, seed: int = 0) -> list[Ask]:
    """Requests of all kinds that the model knows, over those contents and, of a generator, the bare base."""
    rng, classifies = random.Random(seed), model.kind == "encoder"
    vocabulary = model.manifest.graph.vocab_size

    def text():
        words = " ".join(rng.choice(WORDS.split()) for _ in range(rng.randrange(1, 10)))
        return words if rng.random() < 0.8 else [rng.randrange(10, vocabulary) for _ in range(rng.randrange(1, 20))]

    found = []
    for number in range(count):
        rows = 1 if rng.random() < 0.75 else rng.randrange(2, 5)
        of_rows = tuple(rng.choice([*contents] if classifies else [*contents, None]) for _ in range(rows))
        texts = [text() for _ in range(rows)] if rows > 1 else text()
        options = {"top_k": 2} if classifies and rng.random() < 0.3 else {}
        if not classifies:
            more = rng.choice(MORE)
            drawn = {} if "num_beams" in more else rng.choice(DRAWS)
            options = {"max_new_tokens": rng.randrange(1, new_tokens + 1), "seed": number, **drawn, **more}
        found.append(Ask(number, "classify" if classifies else "generate", texts, of_rows, options))
    return found


def answered(model, ask: Ask, names: Sequence[str | None], **more):
    """The model's answer, with those names for the ask's contents."""
    adapter = names[0] if len(names) == 1 else list(names)
    found = getattr(model, ask.call)(ask.texts, adapter=adapter, **ask.options, **more)
    return said(found)


def said(found) -> tuple:
    """What has to be equal of an answer, bit for bit: all but the time it took."""
    if isinstance(found, list):
        return tuple(map(said, found))
    if isinstance(found, Classification):
        return found.label, tuple(found.scores.items())
    assert isinstance(found, Generation)
    logprobs = found.logprobs and tuple((x.token_id, np.float32(x.logprob)) for x in found.logprobs)
    return tuple(found.token_ids), found.text, found.finish_reason, logprobs, tuple(map(said, found.others))


def is_beginning(cut: tuple[Sequence[int], str], whole: tuple) -> bool:
    """Whether tokens and text are the beginning of a generation's; a character that was cut through is none yet."""
    tokens, text = cut
    return tuple(tokens) == whole[0][: len(tokens)] and whole[1].startswith(text.rstrip("�"))
