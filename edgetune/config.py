"""Every option of a training run, its meaning and its only default; read from and written as TOML."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from edgetune.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

Task = Literal["classify", "tag", "regress", "generate"]
Method = Literal["prompt", "prefix", "prompt+prefix"]
PromptPosition = Literal["before", "after", "both"]
PrefixShare = Literal["none", "kv"]
Pooling = Literal["mean", "first", "start", "mask", "each"]
Head = Literal["linear", "mlp", "words"]
Precision = Literal["fp32", "bf16"]
WeightPrecision = Literal["fp32", "fp16", "int8", "int4"]

Init = Literal["vocab", "random", "text", "labels", "adapter"]
Reparameterisation = Literal["none", "mlp", "lstm"]

INITS: tuple[str, ...] = get_args(Init)
REPARAMETERISATIONS: tuple[str, ...] = get_args(Reparameterisation)
PLACES = ("encoder", "decoder", "cross")
METHODS: tuple[Method, ...] = get_args(Method)
PROMPT_POSITIONS: tuple[str, ...] = get_args(PromptPosition)
PREFIX_SHARES: tuple[str, ...] = get_args(PrefixShare)
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
CHOSEN_POOLINGS = POOLINGS[:3]
"""The others are what label words and tags mean."""
HEADS: tuple[str, ...] = get_args(Head)
PRECISIONS: tuple[str, ...] = get_args(Precision)
WEIGHTS: tuple[str, ...] = get_args(WeightPrecision)
STORAGES = ("fp32", "fp16", "int8")
"""Of an adapter's keys and values on the device."""

BLOCK_SIZES = (16, 32, 64, 128, 256)
BLOCK_SIZE = 64
"""Weights that share a scale (docs/precision.md)."""
WHOLE = 0
"""A block size too: a whole column shares its scale."""
BUFFER_ROWS = 10_000
"""Rows by which a stream is mixed, where --shuffle-buffer does not say otherwise."""
CURVES = ("P-256", "P-384", "P-521")
"""Of keys that sign."""
ACCURACY_LEVELS = (1, 4)
ACCURACY_LEVEL = 4
Zero = Literal["symmetric", "asymmetric"]
ZEROS: tuple[str, ...] = get_args(Zero)
BASE_PRECISIONS: tuple[str, ...] = ("fp32", "int8", "int4")
RECOVERY_RATE = 1.0
"""Of the run's own peak learning rate, for --recover: a tenth of it won back 42 % of a loss where this won 60 %."""

LEARNING_RATES = {
    ("classify", "prompt"): 5e-2,
    ("classify", "prefix"): 1e-2,
    ("tag", "prompt"): 5e-2,
    ("tag", "prefix"): 1e-2,
    ("regress", "prompt"): 5e-2,
    ("regress", "prefix"): 1e-2,
    ("generate", "prompt"): 1e-1,
    ("generate", "prefix"): 5e-2,
    ("classify", "prompt+prefix"): 1e-2,
    ("tag", "prompt+prefix"): 1e-2,
    ("regress", "prompt+prefix"): 1e-2,
    ("generate", "prompt+prefix"): 5e-2,
}
"""By task and method, where none is given: chosen on banking77 and E2E (benchmarks/banking77.py, benchmarks/e2e.py);
both together take the prefix's, the smaller."""


TABLES = {"columns": 'FIELD = "COLUMN"', "label_words": 'LABEL = "WORD,WORD"'}


def option(default: Any, meaning: str, **extra: Any) -> Any:
    return field(default=default, metadata={"help": meaning, **extra})


@dataclass(frozen=True)
class TrainConfig:
    """One training run, whole: the same file gives the same adapter."""

    model: str = option("", "Base model: a hub id or a local folder.")
    data: str = option(
        "", "Training rows: JSONL, CSV, TSV or Parquet; a pattern of files or hub:NAME[:SPLIT] is read as a stream."
    )
    shuffle_buffer: int | None = option(
        None, "Read the training rows as a stream and mix it by so many rows; patterns and hub:NAME by "
        f"{BUFFER_ROWS}.",
        minimum=1,
    )  # fmt: skip
    eval_data: str | None = option(None, "Rows to evaluate on; the best checkpoint on them is kept.")
    task: Task = option("classify", "What to tune for.")
    method: Method = option("prefix", "What to learn.", choices=METHODS)
    virtual_tokens: int = option(20, "P, the virtual tokens to learn; of prompt+prefix each has as many.", minimum=1)
    prompt_position: PromptPosition = option(
        "before", "Where a prompt stands: before the text, after it, or half and half.", choices=PROMPT_POSITIONS
    )
    prefix_layers: str = option("all", "Layers that have a prefix: all, first:N, last:N, or their numbers, e.g. 0,2,5.")
    prefix_lengths: str | None = option(
        None, "A prefix's length in each layer, in place of --virtual-tokens; 0 is none, e.g. 10,10,0,20."
    )
    prefix_share: PrefixShare = option(
        "none", "kv: a prefix's keys are its values too, half the parameters.", choices=PREFIX_SHARES
    )
    init: Init = option("vocab", "What virtual tokens start from.", choices=INITS)
    init_text: str | None = option(None, "The text of --init text.")
    init_adapter: str | None = option(None, "The adapter's folder of --init adapter, tuned on the same base.")
    reparameterise: Reparameterisation = option("none", "A network to tune through.", choices=REPARAMETERISATIONS)
    reparameterise_size: int = option(128, "Width of that network.", minimum=1)
    prefix_places: str | None = option(
        None, "Encoder-decoders: where a prefix goes, of encoder,decoder,cross; by default everywhere."
    )
    labels: str | None = option(None, "Labels or tags to tell apart, A,B; by default those of the training rows.")
    columns: dict[str, str] = option(
        None, "Names of the file's columns: FIELD=COLUMN, e.g. label=category.", metavar="FIELD=COLUMN"
    )
    steps: int = option(500, "Optimiser steps.", minimum=0)
    batch_size: int = option(32, "B, rows that go through the model at once.", minimum=1)
    accumulate: int = option(1, "Batches a step: one batch of all their rows, in the memory of one.", minimum=1)
    learning_rate: float | None = option(None, "Peak learning rate; by default the method's own.", minimum=0.0)
    warmup: float = option(
        0.1, "Fraction of the steps over which the rate rises; it falls linearly after.", minimum=0.0
    )
    weight_decay: float = option(0.0, "AdamW's weight decay.", minimum=0.0)
    clip_norm: float = option(1.0, "Largest norm of a step's gradient; 0 does not clip.", minimum=0.0)
    pooling: Pooling = option(
        "mean", "What a classifier's head reads: the text's mean, its first token, or the start of it all.",
        choices=CHOSEN_POOLINGS,
    )  # fmt: skip
    head: Head = option(
        "linear", "A classifier's head; mlp has a hidden layer, as RoBERTa's; words are the base's own, at a template.",
        choices=HEADS,
    )  # fmt: skip
    template: str | None = option(
        None, "Head words: what the text is filled into, e.g. '{text} It was {mask}.'; decoders: '{text} =>'."
    )
    label_words: dict[str, str] = option(
        None, "Head words: what stands for a label, LABEL=WORD[,WORD...]; by default its name.",
        metavar="LABEL=WORD[,WORD…]",
    )  # fmt: skip
    max_length: int | None = option(
        None, "Most tokens of a classifier's text; by default what the base holds.", minimum=2
    )
    precision: Precision = option("fp32", "What the base computes in; what is learned stays fp32.", choices=PRECISIONS)
    base_precision: WeightPrecision = option(
        "fp32", "Tune with the base's weights rounded as an export of this precision rounds them.",
        choices=BASE_PRECISIONS,
    )  # fmt: skip
    base_block_size: int = option(BLOCK_SIZE, "Weights that share a scale there; 0: whole columns.", minimum=WHOLE)
    base_zeros: Zero = option("symmetric", "Whether blocks have zero points there.", choices=ZEROS)
    base_keep: str | None = option(None, "Exceptions there by parameter names: NAME=fp32,NAME=int8.")
    max_new_tokens: int | None = option(
        None, "Generators: on the device, the most new tokens of a completion.", minimum=1
    )
    stop: str | None = option(None, "Generators: on the device, end a completion before this string.")
    eval_every: int = option(100, "Steps between evaluations.", minimum=1)
    patience: int | None = option(None, "Evaluations without improvement that end a run; by default none.", minimum=1)
    save_every: int = option(100, "Steps after which --resume can continue a killed run; 0 keeps nothing.", minimum=0)
    tensorboard: str | None = option(None, "Folder for TensorBoard's files of the run.")
    seed: int = option(0, "Seed of initial values and of the order of rows.")

    def __post_init__(self) -> None:
        for name in ("columns", "label_words"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, {})
        for f in fields(self):
            check_value(f.name, getattr(self, f.name), str(f.type), f.metadata)
        if not self.places or set(self.places) - set(PLACES):
            raise ConfigError(f"prefix_places is {self.prefix_places!r}; give one or more of {','.join(PLACES)}")

    @property
    def label_list(self) -> tuple[str, ...]:
        """Sorted, each once; empty where none were given."""
        return tuple(sorted({name.strip() for name in (self.labels or "").split(",") if name.strip()}))

    @property
    def has_prompt(self) -> bool:
        return self.method != "prefix"

    @property
    def has_prefix(self) -> bool:
        return self.method != "prompt"

    @property
    def places(self) -> tuple[str, ...]:
        """Where a prefix of an encoder–decoder goes."""
        given = (x.strip() for x in (self.prefix_places or "").split(",")) if self.prefix_places is not None else PLACES
        return tuple(dict.fromkeys(given))

    @property
    def purpose(self) -> str:
        """What the base is loaded for: the task, or `words` where its own vocabulary answers."""
        return "words" if self.head == "words" else self.task

    @property
    def peak_learning_rate(self) -> float:
        if self.learning_rate is not None:
            return self.learning_rate
        return LEARNING_RATES[self.task, self.method]

    @property
    def generation_defaults(self) -> dict[str, Any]:
        """What the adapter carries to the device; its callers can still say otherwise."""
        given = {"max_new_tokens": self.max_new_tokens, "stop": [self.stop] if self.stop else None}
        return {name: value for name, value in given.items() if value is not None}

    def toml(self) -> str:
        """The run as a file that `--config` reads back; options left at None are left out."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        tables = {name: values.pop(name) for name in ("columns", "label_words")}
        lines = [f"{name} = {toml_value(value)}" for name, value in values.items()]
        for name, table in tables.items():
            if table:
                lines += ["", f"[{name}]", *(f"{toml_value(k)} = {toml_value(v)}" for k, v in table.items())]
        return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def check_value(name: str, value: Any, kind: str, limits: Any) -> None:
    """`kind` is the field's annotation; a file may hold anything."""
    choices, minimum = limits.get("choices"), limits.get("minimum")
    if value is None and kind.endswith("| None"):
        return
    if choices and value not in choices:
        raise ConfigError(f"{name} is {value!r}; choose {' or '.join(choices)}")
    if kind.startswith("str") and not isinstance(value, str):
        raise ConfigError(f"{name} is {value!r}; give a text in quotes")
    if kind.startswith("dict") and not (isinstance(value, dict) and all(isinstance(x, str) for x in value.values())):
        raise ConfigError(f"{name} is {value!r}; give a table of {TABLES[name]}")
    if kind.startswith(("int", "float")):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{name} is {value!r}; give a number")
        if kind.startswith("int") and not isinstance(value, int):
            raise ConfigError(f"{name} is {value!r}; give a whole number")
        if minimum is not None and not value >= minimum:
            raise ConfigError(f"{name} is {value}; the least is {minimum}")


def read_config(path: str | Path) -> dict[str, Any]:
    """The options that a TOML file sets, by name.

    Raises:
        ConfigError: the file is missing, is not TOML or names an option that does not exist.
    """
    values = read_toml(path)
    refuse_unknown(values, str(path))
    return values


def read_toml(path: str | Path) -> dict[str, Any]:
    """Raises ConfigError where the file is missing or is not TOML."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def refuse_unknown(values: Iterable[str], where: str) -> None:
    """Raises ConfigError for a name that is no option's."""
    known = [f.name for f in fields(TrainConfig)]
    for name in values:
        if name not in known:
            raise ConfigError(f"{where}: unknown option {name!r}; known: {', '.join(known)}")
