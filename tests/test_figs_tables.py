"""The tables of the results: AutoAttack's column, which only runs with a report have."""

import shutil

import numpy as np
import pytest

from paper_figs.tables import RECORDS, auto_attack, summary, tables
from theory.common.digits import percent
from theory.common.inputs import InputError
from theory.results.flags import Evaluation
from theory.results.protocols import comparisons
from theory.results.records import read_records
from theory.results.study import read_studies

NAME = "AutoAttack (apgd-ce), l-infinity, eps=0.15"


@pytest.fixture
def runs(tmp_path):
    """Return copies of two PGD runs and a natural one, by seed or name."""
    found = {}
    for folder in sorted((RECORDS / "fairness").glob("*/")):
        records = read_records(folder / "records.jsonl")
        label, seed = next(iter(comparisons(records)[0].runs)), records[0].seed
        if (label, seed) in (("PGD", 0), ("PGD", 1), ("natural", 0)):
            found[label, seed] = shutil.copytree(folder, tmp_path / folder.name)
    return found


def report(folder, falls, chosen=slice(None), **changed):
    """Write a report with an attack that some samples are not robust to."""
    flags = Evaluation.read(folder / "flags.npz")
    ok = np.vstack([flags.ok, flags.ok_attacked & ~falls])[:, chosen]
    arrays = {"index": flags.index[chosen], "labels": flags.labels[chosen]} | changed
    (folder / "report").mkdir(exist_ok=True)
    content = Evaluation((*flags.attacks, NAME), arrays["index"], arrays["labels"], ok).to_bytes()
    (folder / "report" / "evaluation.npz").write_bytes(content)
    return flags


def test_the_column_has_what_autoattack_adds(runs, tmp_path):
    (plain,) = read_studies(tmp_path)
    assert auto_attack(plain) == {} and "AutoAttack" not in summary(plain).markdown()
    expected = []
    for seed, some in ((0, slice(None)), (1, slice(0, 300))):
        flags = Evaluation.read(runs["PGD", seed] / "flags.npz")
        falls = np.arange(len(flags.labels)) % 7 == 0
        report(runs["PGD", seed], falls, some)
        before, after = (~flags.ok_attacked)[some], (~flags.ok_attacked | falls)[some]
        classes = [flags.labels[some] == c for c in range(10)]
        assert after.sum() > before.sum()
        worst = max(after[members].mean() for members in classes)
        expected.append([after.mean(), worst, after.mean() - before.mean()])
    average, worst, added = np.mean(expected, axis=0)
    (study,) = read_studies(tmp_path)
    added = percent(added, signed=True)
    assert auto_attack(study) == {"PGD": f"{percent(average)}, {percent(worst)} ({added})"}
    table = summary(study)
    column = table.header.index("AutoAttack: average, worst (added)")
    assert [row[column] for row in table.rows] == ["", auto_attack(study)["PGD"]]
    assert "of 2 seeds" in table.note


def test_a_report_of_other_samples_is_refused(runs, tmp_path):
    for changed in ({"index": np.arange(600) + 10**6}, {"labels": np.arange(600) % 10}):
        report(runs["PGD", 0], np.zeros(600, bool), **changed)
        with pytest.raises(InputError, match=r"evaluation\.npz"):
            read_studies(tmp_path)
    report(runs["PGD", 0], np.zeros(600, bool), slice(0, 9))
    with pytest.raises(InputError, match=r"evaluation\.npz"):  # not every class
        [*tables(tmp_path)]
