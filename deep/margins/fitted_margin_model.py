"""A trained network beside the Gaussian-margin model that was fitted to it."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from deep.attacks.evaluate import Attack, evaluate
from deep.data import Split
from deep.margins.measure import Losses, Measured, losses, measured, predictions
from deep.runs.reload import Run
from deep.training.seeds import stream
from theory.common.arrays import packed, read_arrays
from theory.common.files import write_atomic
from theory.common.inputs import InputError, parse_radius
from theory.networks.agreement import Agreement, agreement, explained_variance, pair_ratios, rank_correlation
from theory.networks.margin_model import PREDICTORS, MarginPrediction, MarginSamples, predict_errors
from theory.networks.predicted_offsets import PredictedOffsets, predict_offsets
from theory.results.attacks import CLEAN
from theory.results.counts import ClassErrors
from theory.results.flags import Evaluation
from theory.results.margin_report import ERRORS
from theory.results.run_files import MARGINS, SPLIT, WEIGHTS

__all__ = ["FittedMarginModel", "fit_margin_model"]

FEWEST = 20
"""Samples of a class that its margins are fitted to, at least."""
DRAWS = 1000
"""From the posterior of K of a pair."""
Arrays = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FittedMarginModel:
    """A run, what the theory predicts of it, and what was counted.

    Args:
        folder: of the run.
        run: the run.
        label: of its method.
        attack: plain PGD of the radius looked at.
        fitted_on: which samples the model was fitted to, in words.
        margins: theirs.
        prediction: the class errors that they predict.
        evaluation: of the samples that were not fitted.
        losses: to each other class, among some of these.
        ratios: K of each pair from its four error rates, low and high, shape (C, C) each.
        answers: the class each test sample is given, without and with an attack.
    """

    folder: Path
    run: Run
    label: str
    attack: Attack
    fitted_on: str
    margins: Measured
    prediction: MarginPrediction
    evaluation: Evaluation
    losses: Losses
    ratios: tuple[Floats, Floats, Floats]
    answers: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]

    @cached_property
    def counted(self) -> ClassErrors:
        """Return the counted errors of each class."""
        return self.evaluation.errors(self.run.data.classes)

    @cached_property
    def agreements(self) -> dict[str, Agreement]:
        """Return how predicted and counted errors agree, for each error."""
        counted, seed = self.counted, self.run.settings.seed
        return {
            q: agreement(
                self.prediction.value[row],
                self.prediction.replicates[:, row],
                counted.counts(q),
                counted.n,
                seed,
            )
            for row, q in enumerate(ERRORS)
        }

    @cached_property
    def scores(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Return rank correlation and explained variance of each predictor, for each error."""
        first, *others = PREDICTORS
        predicted = {first: self.prediction.value}
        predicted |= {name: _both(self.margins.samples, name) for name in others}
        predicted[f"{first}, no bounds"] = _both(self.margins.unbounded, first)
        rates = [self.counted.rates(q) for q in ERRORS]
        return {
            name: {
                q: (rank_correlation(p, r), explained_variance(p, r))
                for q, p, r in zip(ERRORS, pair, rates, strict=True)
            }
            for name, pair in predicted.items()
        }

    @cached_property
    def offsets(self) -> PredictedOffsets:
        """Return what class offsets would do to the errors, as the model has it."""
        return predict_offsets(self.prediction.model)

    @cached_property
    def width_ratios(self) -> tuple[Floats, Floats, Floats]:
        """Return K of each pair as the fitted margins have it, with its 95 % bootstrap interval."""
        drawn = np.array([model.width_ratio for model in self.prediction.models])
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        return self.prediction.model.width_ratio, low, high


def _both(samples: MarginSamples, name: str) -> Floats:
    """Return the natural and the robust error of each class by one of `PREDICTORS`, shape (2, C)."""
    return np.array([PREDICTORS[name](samples, attacked) for attacked in (False, True)])


def fit_margin_model(
    folder: Path, run: Run, label: str, *, eps: str | None, per_class: int, replicates: int
) -> FittedMarginModel:
    """Fit the model to a run and count what it predicts.

    What was measured of the network is kept in the folder, and not measured again.

    Args:
        folder: of the run.
        run: the run.
        label: of its method.
        eps: radius; that of the run if None.
        per_class: test samples of each class whose pairs are attacked.
        replicates: bootstrap samples.

    Raises:
        InputError: a class has too few samples, or the output of the network is constant.
    """
    attacks = run.attacks
    if eps is not None:
        attacks = tuple(replace(a, eps=parse_radius(eps), eps_text=eps) for a in attacks)
    fitted_on, fit, held_out = _parts(folder, run)
    key = _key(folder, attacks, per_class)
    seen, classes = len(fit) + len(run.data.test), len(run.data.classes)
    measured = _kept(folder / MARGINS, key, most=64 * (seen + classes) * (classes + 1) + (1 << 20))
    try:
        if measured is None:
            measured = {"key": np.array(key), **_measure(run, attacks, fit, held_out, per_class)}
            write_atomic(folder / MARGINS, packed(measured))
        samples = MarginSamples(measured["fitted"], measured["margin"], measured["drop"])
        margins = Measured(
            samples, replace(samples, drop=attacks[0].eps * measured["norm"]), measured["norm"]
        )
        pairs = Losses(measured["lost"], measured["lost_attacked"], measured["n"])
        prediction = predict_errors(margins.samples, replicates=replicates, seed=run.settings.seed)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    labels = run.data.test.labels.cpu().numpy()[held_out]
    names, kinds = (CLEAN, *(a.name for a in attacks)), (CLEAN, *(a.kind for a in attacks))
    return FittedMarginModel(
        folder,
        run,
        label,
        attacks[0],
        fitted_on,
        margins,
        prediction,
        Evaluation(names, run.data.test.index.cpu().numpy()[held_out], labels, measured["ok"], kinds=kinds),
        pairs,
        pair_ratios(*pairs, draws=DRAWS, seed=run.settings.seed),
        (measured["given"], measured["given_attacked"]),
    )


def _measure(
    run: Run, attacks: tuple[Attack, ...], fit: Split, held_out: npt.NDArray[np.int64], per_class: int
) -> Arrays:
    """Return everything that the network is needed for.

    Args:
        run: the run.
        attacks: those of the evaluation, plain PGD first.
        fit: the samples that the margins are fitted to.
        held_out: places of the test samples that are left to compare with.
        per_class: how many of each class of these are attacked pair by pair.
    """
    test, seed = run.data.test, stream(run.settings.seed, "test")
    evaluation = run.evaluation if attacks == run.attacks else evaluate(run.model, test, *attacks, seed=seed)
    held = test.take(torch.from_numpy(held_out).to(test.labels.device))
    few = held.take(held.first(per_class))
    margins = measured(run.model, fit, attacks[0])
    title = f"{run.settings.method}, seed {run.settings.seed}"
    natural, robust, n = losses(run.model, few, attacks[0], seed=seed, title=title)
    clean, attacked = predictions(run.model, test, attacks[0], seed=seed)
    out = {"fitted": margins.samples.labels, "margin": margins.samples.margin, "drop": margins.samples.drop}
    out |= {"norm": margins.norm, "lost": natural, "lost_attacked": robust, "n": n}
    return out | {"ok": evaluation.ok[:, held_out], "given": clean, "given_attacked": attacked}


def _key(folder: Path, attacks: tuple[Attack, ...], per_class: int) -> str:
    """Return what names a measurement: weights and split of the run, attacks and samples."""
    digest = hashlib.sha256(repr((attacks, per_class, FEWEST, torch.__version__)).encode())
    for file in (WEIGHTS, SPLIT):
        digest.update((folder / file).read_bytes())
    return digest.hexdigest()


def _kept(path: Path, key: str, most: int = 1 << 24) -> Arrays | None:
    """Return a measurement that is there, or None if it is another one or damaged: then it is made again."""
    try:
        arrays = read_arrays(path, most)
    except InputError:
        return None
    return arrays if str(arrays.get("key")) == key else None


def _parts(folder: Path, run: Run) -> tuple[str, Split, npt.NDArray[np.int64]]:
    """Return the split to fit, its name, and the places of the test samples that are left to compare with."""
    val, test = run.data.val, run.data.test
    labels = test.labels.cpu().numpy()
    if int(torch.bincount(val.labels, minlength=len(run.data.classes)).min()) >= FEWEST:
        return "validation split", val, np.arange(len(labels))
    turn = np.zeros(len(labels), np.int64)
    for c in range(len(run.data.classes)):
        members = np.flatnonzero(labels == c)
        turn[members] = np.arange(len(members)) % 2
        if len(members) < 2 * FEWEST:
            raise InputError(
                f"{folder}: to fit margins, each class needs {FEWEST} validation or {2 * FEWEST} test "
                f"images, class {run.data.classes[c]} has {int((val.labels == c).sum())} and {len(members)}"
            )
    chosen = torch.from_numpy(np.flatnonzero(turn == 1)).to(test.labels.device)
    return "every second test sample of each class", test.take(chosen), np.flatnonzero(turn == 0)
