"""What a bench has measured, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        lengths: tokens of the text.
        rows: texts at once.
        new_tokens: that a generator writes behind each.
        rounds: of each measurement; its median counts.
        sampled: a generator draws its tokens (temperature 0.8, top-k 40, top-p 0.95) instead of taking the likeliest.
    """

    lengths: tuple[int, ...] = (16, 128, 512)
    rows: tuple[int, ...] = (1, 4, 8)
    new_tokens: int = 32
    rounds: int = 5
    sampled: bool = True


@dataclass(frozen=True)
class Point:
    """One length and one number of rows.

    Attributes:
        answer_ms: until the first token of all rows, of generators; until all answers.
        tokens_per_second: of all rows together, after the first token; None for what reads.
    """

    tokens: int
    rows: int
    answer_ms: float
    tokens_per_second: float | None = None

    @property
    def texts_per_second(self) -> float:
        return self.rows / self.answer_ms * 1e3


@dataclass(frozen=True)
class Bench:
    """A bundle on this machine.

    Attributes:
        size_bytes: of the whole folder; `weight_bytes` of the files that a token reads, graph and weights.
        load_ms, first_answer_ms: in this process, files as the system's cache had them.
        resident_bytes: what loading and answering added to the process.
        switch_us: what a call takes longer when its adapter is another than that of the call before; None without two.
        bandwidth_gb_s: best read bandwidth of the machine, all cores.
    """

    bundle: str
    kind: str
    task: str
    adapter: str | None
    threads: int | None
    size_bytes: int
    weight_bytes: int
    load_ms: float
    first_answer_ms: float
    resident_bytes: int
    points: tuple[Point, ...]
    switch_us: float | None
    bandwidth_gb_s: float

    def fraction(self, point: Point) -> float | None:
        """Of the tokens per second of one row that reading all weights for each token leaves possible."""
        if point.tokens_per_second is None or point.rows != 1:
            return None
        return point.tokens_per_second * self.weight_bytes / (self.bandwidth_gb_s * 1e9)
