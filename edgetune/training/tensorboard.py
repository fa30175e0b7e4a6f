"""A run's curves for TensorBoard, where that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgetune.errors import ConfigError
from edgetune.training.loop import Progress


@contextmanager
def curves(folder: str | Path | None, steps_done: int = 0) -> Iterator[Callable[[Progress], None]]:
    """Writes what it is called with into `folder`, or nothing; later steps than `steps_done` there are void.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    if folder is None:
        yield lambda _: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError("--tensorboard needs TensorBoard: pip install tensorboard") from error
    with SummaryWriter(str(folder), purge_step=steps_done + 1) as writer:

        def write(progress: Progress) -> None:
            if progress.metrics is None:
                scalars = {"loss": progress.loss, "learning_rate": progress.learning_rate}
                scalars["samples_per_second"] = progress.samples_per_second
                group = "training"
            else:
                scalars, group = progress.metrics, "evaluation"
            for name, value in scalars.items():
                writer.add_scalar(f"{group}/{name}", value, progress.step)

        yield write
