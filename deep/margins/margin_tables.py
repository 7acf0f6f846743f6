"""What ``python -m deep.link`` prints: prediction beside measurement."""

from collections.abc import Mapping, Sequence

import numpy as np

from deep.margins.fitted_margin_model import FittedMarginModel
from theory.common.digits import percent, rounded
from theory.common.table import Table
from theory.common.verdict_words import shown
from theory.networks.agreement import rank_correlation
from theory.networks.changes import PredictedChange, tally
from theory.results.counts import exact_interval, mean_interval
from theory.results.margin_report import ERRORS

__all__ = ["direction_tables", "run_tables", "summary_tables"]


def _percent(value: float, low: float, high: float, signed: bool = False) -> str:
    if not np.isfinite(low):
        return percent(value, signed=signed)
    return "{} [{}, {}]".format(*(percent(v, signed=signed) for v in (value, low, high)))


def _plain(value: float, low: float = np.nan, high: float = np.nan) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{rounded(value)} [{rounded(low)}, {rounded(high)}]" if np.isfinite(low) else rounded(value)


def _title(fit: FittedMarginModel) -> str:
    return (
        f"{fit.label} on {fit.run.settings.dataset}, seed {fit.run.settings.seed}, eps={fit.attack.eps_text}"
    )


def run_tables(fit: FittedMarginModel) -> list[Table]:
    """Return predicted and measured errors of each class, how they agree, other predictors, K and offsets."""
    return [_classes(fit), _agreement(fit), _pairs(fit), _offsets(fit)]


def _classes(fit: FittedMarginModel) -> Table:
    counted, (low, high) = fit.counted, fit.prediction.interval()
    rows = [[name, str(n)] for name, n in zip(counted.classes, counted.n, strict=True)]
    header = ["class", "n"]
    for i, quantity in enumerate(ERRORS):
        agreement, counts = fit.agreements[quantity], counted.counts(quantity)
        header += [f"{quantity.split('_')[0]} predicted", "measured", "fails"]
        for c, row in enumerate(rows):
            ends = exact_interval(counts[c], counted.n[c])
            row += [
                _percent(fit.prediction.value[i, c], low[i, c], high[i, c]),
                _percent(counts[c] / counted.n[c], *ends),
                percent(agreement.residual[c], signed=True) if c in agreement.failures else "",
            ]
    note = (
        f"errors in percent; predicted from the {fit.fitted_on}, joint Gaussian margins, 95 % bootstrap "
        "intervals over its samples; measured on test samples that were not fitted, 95 % exact intervals; "
        f"fails: measured minus predicted where that is beyond the noise of both (of {len(rows)} classes "
        f"{0.05 * len(rows):.1f} by chance, were the model right)"
    )
    return Table(_title(fit), header, rows, note)


def _offsets(fit: FittedMarginModel) -> Table:
    predicted, rows = fit.offsets, []
    for i, quantity in enumerate(ERRORS):
        before, after = predicted.before[i], predicted.after[i]
        changes = [after.mean() - before.mean(), after.max() - before.max()]
        cells = [percent(v) for v in (before.mean(), after.mean(), before.max(), after.max())]
        cells[2:2] = [percent(changes[0], signed=True)]
        rows.append([quantity.replace("_", " "), *cells, percent(changes[1], signed=True)])
    header = ["", "average", "with offsets", "change", "worst class", "with offsets", "change"]
    chosen = ", ".join(
        f"{c} {rounded(b)}" for c, b in zip(fit.counted.classes, predicted.offsets, strict=True)
    )
    note = (
        "in percent, of the fitted Gaussian margins alone: what class offsets (deep.repair) are predicted to "
        f"do before they are tried; the offsets that the model calls best: {chosen}"
    )
    return Table(f"{_title(fit)}: class offsets, predicted", header, rows, note)


def _agreement(fit: FittedMarginModel) -> Table:
    agreements = fit.agreements
    rows = []
    for quantity, a in agreements.items():
        low, mean, high = a.if_right
        rows.append(
            [quantity.replace("_", " "), _plain(*a.rank), _plain(mean, low, high), _plain(*a.explained)]
        )
    first, *others = fit.scores.items()
    for name, scores in [first, *others]:
        ranks = " / ".join(_plain(scores[q][0]) for q in ERRORS)
        rows.append([name, ranks, "", " / ".join(_plain(scores[q][1]) for q in ERRORS)])
    note = (
        "rank: Spearman's, 95 % bootstrap interval over the samples of both parts; if right: what it "
        "would be were the prediction exact, given so few samples; explained: 1 - residual / total sum of "
        "squares over classes, nothing fitted. Below, natural / robust of other predictors: the first is the "
        'prediction, fixed beforehand; "each sample" has no Gaussian; "no bounds" takes the full dual norm'
    )
    return Table(
        "Agreement over classes", ["", "rank correlation", "if right", "explained variance"], rows, note
    )


def _pairs(fit: FittedMarginModel) -> Table:
    K, low, high = fit.ratios
    fitted, fitted_low, fitted_high = fit.width_ratios
    upper = np.triu_indices(len(K), 1)
    resolved = [(i, j) for i, j in zip(*upper, strict=True) if low[i, j] > 1 or high[i, j] < 1]
    agree = sum((K[p] > 1) == (fitted[p] > 1) for p in resolved)
    size = np.abs(np.log(K[upper]))
    shown = [(upper[0][k], upper[1][k]) for k in np.argsort(-size, kind="stable")]
    shown = [p for p in shown if p in resolved][:5]
    names = fit.run.data.classes
    rows = [
        [f"{names[i]} / {names[j]}", _plain(fitted[i, j], fitted_low[i, j], fitted_high[i, j]),
         _plain(K[i, j], low[i, j], high[i, j])]
        for i, j in shown
    ]  # fmt: skip
    rank = rank_correlation(np.log(fitted[upper]), np.log(K[upper]))
    share = ""
    if resolved:
        ends = exact_interval(agree, len(resolved))
        share = f", {agree} of them on the fitted side (95 % {100 * ends[0]:.0f} to {100 * ends[1]:.0f} %)"
    note = (
        f"{len(size)} pairs, {len(resolved)} whose K differs from 1 beyond noise{share}; rank correlation of "
        f"both K over pairs {_plain(rank)}. From errors: the four rates of the pair under PGD towards the "
        "other class, whatever the bias; fitted: spread over what the adversary takes. Shown: the most "
        "unequal pairs that tell"
    )
    return Table(
        "K of pairs, width of the first class over the second", ["pair", "fitted", "from errors"], rows, note
    )


def direction_tables(title: str, predicted: Mapping[str, Sequence[PredictedChange]]) -> list[Table]:
    """Return what changes for each class against each run that a run is compared with."""
    tables = []
    for against, changes in predicted.items():
        rows = [
            [
                f"{c.label}, {c.quantity.split('_')[0]}",
                "{} [{}, {}]".format(*(rounded(100 * v, signed=True) for v in c.predicted[:3])),
                _percent(*c.measured, signed=True),
                f"{c.p:.2g}",
                shown(c.verdict),
            ]
            for c in changes
        ]
        note = (
            "in percentage points; predicted to first order by the pairwise theory from the other run, only "
            "its sign is compared; measured on the same samples, 95 % interval for pairs; inconclusive: "
            "p > 0.05. " + _tally(changes)
        )
        header = ["class, error", "predicted", "measured change", "p", "verdict"]
        tables.append(Table(f"{title} against {against}", header, rows, note))
    return tables


def _tally(changes: Sequence[PredictedChange]) -> str:
    counts, interval = tally(list(changes))
    tried = counts["agrees"] + counts["differs"]
    text = f"{counts['agrees']} of {tried} agree, {counts['cannot tell']} inconclusive"
    if interval is None:
        return text
    return f"{text}; 95 % exact interval of the share {100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"


def summary_tables(
    fits: Sequence[FittedMarginModel], predicted: Mapping[int, Mapping[str, Sequence[PredictedChange]]]
) -> list[Table]:
    """Return the agreement of each method over its runs, and of all its directions together."""
    groups: dict[str, list[int]] = {}
    for i, fit in enumerate(fits):
        groups.setdefault(fit.label, []).append(i)
    rows = []
    for label, members in groups.items():
        row = [label, str(len(members))]
        for quantity in ERRORS:
            parts = [fits[i].agreements[quantity] for i in members]
            for values in ([a.rank[0] for a in parts], [a.explained[0] for a in parts]):
                defined = [v for v in values if np.isfinite(v)]
                row.append(_plain(*mean_interval(defined)) if defined else "-")
        rows.append(row)
    header = ["method", "runs", "natural: rank", "explained", "robust: rank", "explained"]
    note = "means over runs, 95 % t interval; runs share images. - where all classes have the same error"
    tables = [Table("Predicted against measured class errors", header, rows, note)]
    rows = []
    for label, members in groups.items():
        for against in dict.fromkeys(k for i in members for k in predicted.get(i, {})):
            for quantity in ERRORS:
                changes = [
                    c
                    for i in members
                    for c in predicted.get(i, {}).get(against, [])
                    if c.quantity == quantity
                ]
                if changes:
                    ranks = [
                        _order(predicted[i][against], quantity)
                        for i in members
                        if against in predicted.get(i, {})
                    ]
                    defined = [r for r in ranks if np.isfinite(r)]
                    row = [f"{label} against {against}", quantity.split("_")[0], _tally(changes)]
                    rows.append([*row, _plain(*mean_interval(defined)) if defined else "-"])
    if rows:
        note = (
            "classes of a run and runs on shared images are not independent: intervals are too narrow. "
            "Order: rank correlation over classes of predicted and measured change, mean over runs"
        )
        tables.append(Table("Directions", ["change", "error", "verdicts", "order"], rows, note))
    return tables


def _order(changes: Sequence[PredictedChange], quantity: str) -> float:
    chosen = [c for c in changes if c.quantity == quantity]
    return rank_correlation([c.predicted[0] for c in chosen], [c.measured[0] for c in chosen])
