"""Every option of a training run, its meaning and its only default; read from and written as TOML."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from edgetune.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

Task = Literal["classify", "generate"]
Method = Literal["prompt", "prefix"]
Pooling = Literal["mean", "first", "start"]
Head = Literal["linear", "mlp"]
Precision = Literal["fp32", "bf16"]
WeightPrecision = Literal["fp32", "fp16", "int8", "int4"]

Init = Literal["vocab", "random", "text", "labels"]
Reparameterisation = Literal["none", "mlp", "lstm"]

INITS: tuple[str, ...] = get_args(Init)
REPARAMETERISATIONS: tuple[str, ...] = get_args(Reparameterisation)
PLACES = ("encoder", "decoder", "cross")
METHODS: tuple[Method, ...] = get_args(Method)
POOLINGS: tuple[str, ...] = get_args(Pooling)
HEADS: tuple[str, ...] = get_args(Head)
PRECISIONS: tuple[str, ...] = get_args(Precision)
WEIGHTS: tuple[str, ...] = get_args(WeightPrecision)
BLOCK_SIZES = (16, 32, 64, 128, 256)
BLOCK_SIZE = 64
"""Weights that share a scale (docs/precision.md)."""
ACCURACY_LEVELS = (1, 4)
ACCURACY_LEVEL = 4
Zero = Literal["symmetric", "asymmetric"]
ZEROS: tuple[str, ...] = get_args(Zero)
BASE_PRECISIONS: tuple[str, ...] = ("fp32", "int8", "int4")
RECOVERY_RATE = 0.1
"""Of the run's own peak learning rate, for --recover: the adapter is finished and has little way to go."""

LEARNING_RATES = {
    ("classify", "prompt"): 5e-2,
    ("classify", "prefix"): 1e-2,
    ("generate", "prompt"): 1e-1,
    ("generate", "prefix"): 5e-2,
}
"""By task and method, where none is given: chosen on banking77 and E2E (benchmarks/banking77.py, benchmarks/e2e.py)."""


def option(default: Any, meaning: str, **extra: Any) -> Any:
    return field(default=default, metadata={"help": meaning, **extra})


@dataclass(frozen=True)
class TrainConfig:
    """One training run, whole: the same file gives the same adapter."""

    model: str = option("", "Base model: a hub id or a local folder.")
    data: str = option("", "Training rows: JSONL, CSV, TSV or Parquet.")
    eval_data: str | None = option(None, "Rows to evaluate on; the best checkpoint on them is kept.")
    task: Task = option("classify", "What to tune for.")
    method: Method = option("prefix", "What to learn.", choices=METHODS)
    virtual_tokens: int = option(20, "P, the virtual tokens to learn.", minimum=1)
    init: Init = option("vocab", "What virtual tokens start from.", choices=INITS)
    init_text: str | None = option(None, "The text of --init text.")
    reparameterise: Reparameterisation = option("none", "A network to tune through.", choices=REPARAMETERISATIONS)
    reparameterise_size: int = option(128, "Width of that network.", minimum=1)
    prefix_places: str | None = option(
        None, "Encoder-decoders: where a prefix goes, of encoder,decoder,cross; by default everywhere."
    )
    columns: dict[str, str] = option(None, "Names of the file's columns: FIELD=COLUMN, e.g. label=category.")
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
        choices=POOLINGS,
    )  # fmt: skip
    head: Head = option("linear", "A classifier's head; mlp has a hidden layer, as RoBERTa's.", choices=HEADS)
    max_length: int | None = option(
        None, "Most tokens of a classifier's text; by default what the base holds.", minimum=2
    )
    precision: Precision = option("fp32", "What the base computes in; what is learned stays fp32.", choices=PRECISIONS)
    base_precision: WeightPrecision = option(
        "fp32", "Tune with the base's weights rounded as an export of this precision rounds them.",
        choices=BASE_PRECISIONS,
    )  # fmt: skip
    base_block_size: int = option(BLOCK_SIZE, "Weights that share a scale there.", minimum=BLOCK_SIZES[0])
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
        if self.columns is None:
            object.__setattr__(self, "columns", {})
        for f in fields(self):
            check_value(f.name, getattr(self, f.name), str(f.type), f.metadata)
        if not self.places or set(self.places) - set(PLACES):
            raise ConfigError(f"prefix_places is {self.prefix_places!r}; give one or more of {','.join(PLACES)}")

    @property
    def places(self) -> tuple[str, ...]:
        """Where a prefix of an encoder–decoder goes."""
        given = (x.strip() for x in (self.prefix_places or "").split(",")) if self.prefix_places is not None else PLACES
        return tuple(dict.fromkeys(given))

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
        columns = values.pop("columns")
        lines = [f"{name} = {toml_value(value)}" for name, value in values.items()]
        if columns:
            lines += ["", "[columns]", *(f"{toml_value(k)} = {toml_value(v)}" for k, v in columns.items())]
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
        raise ConfigError(f'{name} is {value!r}; give a table of FIELD = "COLUMN"')
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
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    known = [f.name for f in fields(TrainConfig)]
    for name in values:
        if name not in known:
            raise ConfigError(f"{path}: unknown option {name!r}; known: {', '.join(known)}")
    return values
