"""AutoAttack (Croce and Hein, 2020), by the package pyautoattack, with attacks that suit the classes."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deep.ball import Norm
from deep.noise import Noise
from theory.inputs import InputError

__all__ = ["AutoAttack", "attack_set"]


def attack_set(classes: int) -> tuple[str, ...]:
    """Return the attacks that are defined for a number of classes.

    The difference-of-logits-ratio loss needs 3 classes and its targeted form 4; with fewer, "standard" fails.
    """
    if classes >= 4:
        return ("apgd-ce", "apgd-t", "fab-t", "square")
    return ("apgd-ce", "apgd-dlr", "fab-t", "square") if classes == 3 else ("apgd-ce", "fab", "square")


@dataclass(frozen=True)
class AutoAttack:
    """AutoAttack on data in [0, 1]; with 4 classes or more its version "standard".

    Its random numbers come from the seed and the first sample of each batch, so they depend on the
    batch size.

    Args:
        eps: radius.
        eps_text: the same as it was given, such as 8/255.
        classes: number of classes.
        norm: linf or l2.
        queries: of the square attack.
    """

    eps: float
    eps_text: str
    classes: int
    norm: Norm = "linf"
    queries: int = 5000

    @property
    def name(self) -> str:
        """Return the full setting in words."""
        attacks = " ".join(attack_set(self.classes))
        norm = {"linf": "l-infinity", "l2": "l2"}[self.norm]
        return f"AutoAttack ({attacks}, {self.queries} queries), {norm}, eps={self.eps_text}"

    def withstood(self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor, noise: Noise) -> Tensor:
        """Return whether each sample withstands every attack of the set.

        Raises:
            InputError: pyautoattack is not installed.
        """
        if self.eps == 0:
            return torch.ones_like(y, dtype=torch.bool)
        seed = int(noise[torch.zeros(1, dtype=torch.int64, device=y.device)].fork(0).uniform((1,)) * 2**24)
        with _contained(x.device), torch.enable_grad():
            _, found = self._attack(model, x.device, seed).run_standard_evaluation(x, y, batch_size=len(y))
        return found == y

    def _attack(self, model: nn.Module, device: torch.device, seed: int) -> Any:
        attack = _package().AutoAttack(
            model,
            attacks=list(attack_set(self.classes)),
            device=device,
            eps=self.eps,
            norm={"linf": "Linf", "l2": "L2"}[self.norm],
            seed=seed,
            version="custom",
        )
        attack.apgd.n_restarts = attack.fab.n_restarts = attack.apgd_targeted.n_restarts = 1
        attack.fab.n_target_classes = attack.apgd_targeted.n_target_classes = min(9, self.classes - 1)
        attack.square.n_queries = self.queries
        return attack


def _package() -> Any:
    try:
        import pyautoattack
    except ImportError:
        raise InputError(
            "AutoAttack needs pyautoattack; install the extra: pip install '.[attacks]'"
        ) from None
    return pyautoattack


@contextmanager
def _contained(device: torch.device) -> Iterator[None]:
    """Undo what the package changes: the trace function and the seed of torch's global generators.

    Its warnings are silent meanwhile: they say less than deep.sanity, and one is false with 3 classes.
    """
    trace, logger = sys.gettrace(), logging.getLogger("auto-attack")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        sys.settrace(trace)
        logger.setLevel(level)
