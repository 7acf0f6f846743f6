"""What a person sees while a network is trained: a bar, a line an epoch, alarms, curves if asked for."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from theory.common.digits import exact_mean, percent
from theory.common.inputs import InputError

__all__ = ["Monitor", "row"]

HEADER = "  epoch      loss   natural average  worst   robust average  worst   images/s       left"


def row(line: Mapping[str, Any], epochs: int, seconds: float) -> str:
    """Return a line of the table: errors on the validation split in percent, and the time left.

    Args:
        line: of the history.
        epochs: epochs in all.
        seconds: time that an epoch took until now, on average.
    """
    minutes, left = divmod(round(seconds * (epochs - line["epoch"])), 60)
    cells = []
    for quantity in ("natural_error", "robust_error"):
        errors = line.get(quantity)
        cells.append(
            f"{percent(exact_mean(errors)):>5}  {percent(max(errors)):>5}"
            if errors
            else f"{'-':>5}  {'-':>5}"
        )
    return (
        f"{line['epoch']:>3}/{epochs:<4} {line['loss']:9.4f}  {cells[0]:>22}  {cells[1]:>21}"
        f"  {line['images_per_second']:>9.0f}  {minutes // 60:>3}:{minutes % 60:02}:{left:02}"
        f"{'  best' if line.get('best') else ''}"
    )


class Monitor:
    """The live view of a training on stderr; without a terminal there is no bar.

    TQDM_DISABLE=1 leaves only alarms.

    Args:
        epochs: epochs in all.
        steps: steps of an epoch.
        curves: folder of the curves for TensorBoard, if they are asked for.

    Raises:
        InputError: TensorBoard is not installed.
    """

    def __init__(self, epochs: int, steps: int, curves: Path | None = None) -> None:
        """Open what is written to."""
        self.epochs, self.steps = epochs, steps
        self.quiet = os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
        self.bar: tqdm[Any] | None = None
        self.seconds: list[float] = []
        self.curves = _writer(curves) if curves else None

    def begin(self, text: str) -> None:
        """Show a line before the first epoch."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def tick(self, part: float) -> None:
        """Show that a part of the epoch is done, from 0 to 1."""
        if self.bar is None:
            disable = True if self.quiet else None
            self.bar = tqdm(
                total=self.steps, unit="step", file=sys.stderr, mininterval=0.5, leave=False, disable=disable
            )
        self.bar.update(round(part * self.steps) - self.bar.n)

    def epoch(self, line: Mapping[str, Any]) -> None:
        """Show a finished epoch."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        if not self.quiet:
            if not self.seconds:
                print(HEADER, file=sys.stderr)
            self.seconds.append(line["seconds"])
            print(row(line, self.epochs, exact_mean(self.seconds)), file=sys.stderr, flush=True)
        for alarm in line.get("alarm", "").splitlines():
            print(f"warning: {alarm}", file=sys.stderr, flush=True)
        if self.curves:
            for name, value in _scalars(line).items():
                self.curves.add_scalar(name, value, line["epoch"])
            self.curves.flush()


def _scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a line, those of a class under the name and the class's number."""
    flat: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, list):
            flat |= {f"{name}/{i}": v for i, v in enumerate(value) if not isinstance(v, str)}
        elif isinstance(value, int | float) and name != "epoch":
            flat[name] = float(value)
    return flat


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard needs tensorboard: pip install 'robust-fairness[track]'") from None
    return SummaryWriter(str(folder))
