"""AutoAttack (Croce and Hein, 2020), by the package pyautoattack, with attacks that suit the classes."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deep.attacks.ball import Norm, each
from deep.attacks.noise import Noise
from deep.attacks.pgd import predicted
from theory.common.inputs import InputError
from theory.results.attacks import AUTOATTACK

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
    def kind(self) -> str:
        """Return autoattack."""
        return AUTOATTACK

    @property
    def name(self) -> str:
        """Return the full setting in words."""
        attacks = " ".join(attack_set(self.classes))
        norm = {"linf": "l-infinity", "l2": "l2"}[self.norm]
        return f"AutoAttack ({attacks}, {self.queries} queries), {norm}, eps={self.eps_text}"

    def answers(self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor, noise: Noise) -> Tensor:
        """Return the class that each sample is given: its label if it withstands every attack of the set.

        Raises:
            InputError: pyautoattack is not installed.
        """
        return self.examples(model, x, y, clean, noise)[1]

    def examples(
        self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Return attacked samples, shape (n, ...), and the class that each is given."""
        if self.eps == 0:
            return x.clone(), y.clone()
        seed = int(noise[torch.zeros(1, dtype=torch.int64, device=y.device)].fork(0).uniform((1,)) * 2**24)
        network = _Finite(model, wrong=0)
        adv, answers = self._run(network, x, y, seed)
        again = (y == 0).nonzero().squeeze(1)
        if network.lost and len(again):  # for them 0 is right
            adv[again], answers[again] = self._run(_Finite(model, wrong=1), x[again], y[again], seed)
        return adv, answers

    def _run(self, network: "_Finite", x: Tensor, y: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Return attacked samples and the class that each is given, -1 where a logit is not finite."""
        with _contained(x.device), torch.enable_grad():
            attack = self._attack(network, x.device, seed)
            adv, answers = attack.run_standard_evaluation(x, y, batch_size=len(y))
        if network.lost:
            with torch.no_grad():
                answers = torch.where(predicted(network.model(adv)) < 0, -1, answers)
        made = adv.isfinite().flatten(1).all(1)  # else the attack has failed
        return torch.where(each(made, adv), adv, x), torch.where(made, answers, y)

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


class _Finite(nn.Module):
    """A network for a package that takes logits that are not finite for class 0: always finite ones.

    Where they are not it gives those of a class that is wrong, and a gradient that is not a number becomes 0.

    Args:
        model: the network.
        wrong: the class.
    """

    def __init__(self, model: nn.Module, *, wrong: int) -> None:
        """Keep them; ``lost`` says whether any logit was not finite."""
        super().__init__()
        self.model, self.wrong, self.lost = model, wrong, False

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, classes)."""
        at = x.view_as(x)
        if at.requires_grad:
            at.register_hook(lambda gradient: gradient.nan_to_num(0.0))
        logits = self.model(at)
        bad = ~logits.isfinite().all(1, keepdim=True)
        if not bad.any():
            return logits
        self.lost = True
        only = torch.zeros_like(logits)
        only[:, self.wrong] = 1
        return torch.where(bad, only, logits)


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
