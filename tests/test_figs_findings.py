"""The sentence that each figure begins with: it follows its data, and never claims what they do not show."""

from types import SimpleNamespace as Data

import numpy as np
import pytest

from paper_figs import __main__ as command
from paper_figs.summary import difference, subject, with_interval
from theory.results.disparity import Estimate

ROBUST = "robust_error"
LOW, HIGH, WIDE = (30.0, 28.0, 32.0), (60.0, 55.0, 65.0), (50.0, 10.0, 90.0)
HALF, ALL = np.array([True, False]), np.array([True, True])


def bars(first, second, **more):
    """Return data of bars: of two methods the average, which is 20, and the error of the worst class."""
    average = (20.0, 19.0, 21.0), (21.0, 20.0, 22.0)
    errors = [np.array([a, worst]) for a, worst in zip(average, (first, second), strict=True)]
    methods = {ROBUST: dict(zip(("PGD", "FRL"), errors, strict=True))}
    return Data(subject="d, one seed", heights=methods, points=methods, **more)


def gaps(natural, adversarial):
    """Return data of one panel: class errors, or gaps, at K = 2 and eps = 0.1."""
    near = {k: np.array([[2.0, *v]]) for k, v in (("natural", natural), ("adversarial", adversarial))}
    classes = {(y, ROBUST): np.array([[0.1, *v]]) for y, v in (("+1", adversarial), ("-1", natural))}
    return Data(panels=(Data(K=2.0, eps=0.1, points=near | classes),))


def front(reachable):
    curve = Data(plus=np.array([0.5, 0.4]), minus=np.array([0.1, 0.4]), reachable=reachable)
    return Data(fronts=(Data(K=2.0, eps=0.1, front=curve),))


def reach(reweight):
    curve = np.array([[0.5, 0.1], [reweight, 0.4]])
    panel = Data(K=2.0, quantity=ROBUST, reweight=curve, remargin=curve, marks={"fair_robust": (0.3, 0.3)})
    return Data(panels=(panel,))


def price(value, low, points=True):
    rows = np.array([[3.0, 1.0, value, low, 0.09]]) if points else np.empty((0, 5))
    return Data(points=rows, K=np.array([1.0, 2.0]), over_K={1.0: np.array([0.0, value])})


def samples(last):
    return Data(
        panels=(Data(K=2.0, curves={"midpoint": np.array([[0.4, 0.3], [40, last]])}, population=0.2),)
    )


def raised(radius, multiplier=0.0):
    """Return curves of a class a that stays and a class b that rises, of two seeds and one epoch."""
    last = {"radii": (1, radius), "phi_bndy": (0, multiplier), "phi_nat": (0, 0)}
    curves = {"FRL": {row: np.array([[ends]] * 2, float) for row, ends in last.items()}}
    return Data(subject="d, 2 seeds", classes=("a", "b"), curves=curves)


def scatter(first, fails):
    ranks = {("PGD", ROBUST): (first,), ("FRL", ROBUST): (0.5,)}
    both = dict.fromkeys(ranks, fails)
    return Data(subject="d, one seed", seeds={"PGD": 1, "FRL": 1}, ranks=ranks, fails=both)


def geometry(predicted):
    measured = np.array([LOW, (45.0, 40.0, 50.0), HIGH])
    return Data(subject="d, one seed, PGD", predicted=np.array(predicted), measured=measured)


def confused(before, after):
    return Data(
        subject="d, one seed", names=("PGD", "FRL"), cell=("cat", "dog"), moved=np.array([before, after])
    )


def ladders(low, epochs=True):
    more = Estimate(0.04, low, 0.08) if epochs else None
    return Data(key="d", seeds=(0,), excess={"natural, fewer epochs": more, "natural, fewer images": None})


def shares(natural, adversarial):
    both = {"natural": natural, "adversarial": adversarial}
    return Data(
        title="digits, 5 against 6", shares={t: np.array([[1 - s, 0.02], [s, 0.02]]) for t, s in both.items()}
    )


def pictures(predicted):
    p = Data(networks=("natural", "PGD"), labels=np.array([0, 1]), predicted=np.array(predicted))
    return Data(key="d", pictures=p)


BASE_OF = {"FRL": "PGD"}
CASES = [
    ("class_errors", bars(HIGH, LOW, base_of={}), ["PGD's", "60.0 % [55.0, 65.0]"], ["FRL", "overlap"]),
    ("class_errors", bars(LOW, HIGH, base_of={}), ["PGD's", "30.0 % [28.0, 32.0]"], ["60.0"]),
    ("class_errors", bars(HIGH, LOW, base_of=BASE_OF), ["FRL lowers", "60.0", "30.0"], ["overlap"]),
    ("class_errors", bars(LOW, HIGH, base_of=BASE_OF), ["no mitigation"], ["lowers"]),
    ("class_errors", bars(HIGH, WIDE, base_of=BASE_OF), ["FRL lowers", "overlap"], []),
    ("repaired", bars(HIGH, LOW), ["FRL lowers", "30.0"], ["raises", "overlap"]),
    ("repaired", bars(LOW, HIGH), ["FRL raises", "60.0"], ["lowers"]),
    ("repaired", bars(LOW, LOW), ["does not change", "overlap"], ["lowers", "raises"]),
    ("tradeoff", bars(HIGH, LOW), ["FRL has the lowest worst", "PGD (lowest average) 60.0"], ["overlap"]),
    ("tradeoff", bars(LOW, HIGH), ["PGD has the lowest worst", "and the lowest average, 20.0"], ["FRL"]),
    ("tradeoff", bars(HIGH, WIDE), ["FRL has the lowest worst", "overlap"], []),
    ("class_geometry", geometry([30, 45, 60]), ["r = 1.00", "3 of 3"], []),
    ("class_geometry", geometry([60, 45, 30]), ["r = -1.00", "1 of 3"], []),
    ("confusion", confused(LOW, HIGH), ["FRL raises cat taken for dog", "30.0"], ["overlap", "lowers"]),
    ("confusion", confused(HIGH, LOW), ["FRL lowers cat taken for dog"], ["raises"]),
    ("predicted_vs_measured", scatter(0.9, HALF), ["0.50 (FRL) to 0.90 (PGD)", "2 of 4"], []),
    ("predicted_vs_measured", scatter(0.1, ALL), ["0.10 (PGD) to 0.50 (FRL)", "4 of 4"], []),
    ("multipliers", raised(1.5, 0.2), ["raises class b", "radius of 1.50 eps"], ["class a"]),
    ("multipliers", raised(1.0, 0.2), ["raises class b", "boundary multiplier of 0.20"], ["radius"]),
    ("multipliers", raised(0.9), ["no multiplier"], ["class"]),
    ("disparity_and_accuracy", ladders(0.01), ["1 of 1", "4.0 points [1.0, 8.0]"], []),
    ("disparity_and_accuracy", ladders(-0.01), ["0 of 1", "4.0 points [-1.0, 8.0]"], []),
    ("disparity_and_accuracy", ladders(0, epochs=False), ["nothing is compared"], ["farther"]),
    ("class_errors_vs_eps", gaps((0.1, 0.05, 0.15), (0.3, 0.25, 0.35)), ["1 of 1", "30.0"], []),
    ("class_errors_vs_eps", gaps((0.3, 0.25, 0.35), (0.1, 0.05, 0.15)), ["0 of 1"], []),
    ("class_errors_vs_eps", gaps((0.3, 0.1, 0.4), (0.32, 0.2, 0.5)), ["0 of 1"], []),
    ("class_errors_vs_eps", Data(panels=()), ["no classifier"], ["more"]),
    ("gap_vs_K", gaps((0.1, 0.05, 0.15), (0.3, 0.25, 0.35)), ["widens the gap in 1 of 1", "30.0"], []),
    ("gap_vs_K", gaps((0.3, 0.25, 0.35), (0.1, 0.05, 0.15)), ["0 of 1"], []),
    ("gap_vs_K", Data(panels=()), ["no gap"], ["widens"]),
    ("gap_vs_samples", samples(0.1), ["falls from 30.0", "to 10.0", "optimum 20.0"], ["rises"]),
    ("gap_vs_samples", samples(0.5), ["rises from 30.0", "to 50.0"], ["falls"]),
    ("pareto_front", front(HALF), ["0 of 1", "50.0 % worst", "40.0 % is possible"], []),
    ("pareto_front", front(ALL), ["1 of 1 fronts as a whole."], ["stops"]),
    ("price_of_fairness", price(0.07, 0.05), ["Simulation", "cost most", "7.0 points [5.0, 9.0]"], []),
    ("price_of_fairness", price(0.07, -0.05), ["not cost more than noise"], ["most"]),
    ("price_of_fairness", price(0.07, 0.05, points=False), ["Theory", "K = 2", "7.0 points"], ["["]),
    ("reachable", reach(0.2), ["by Reweight at K = 2", "by Remargin at K = 2"], ["not"]),
    ("reachable", reach(0.4), ["by Reweight not at 2"], ["at K = 2"]),
    ("saliency", pictures([[1, 0], [0, 1]]), ["of 2 attacked", "natural 2, PGD 0"], []),
    ("saliency", pictures([[0, 1], [1, 1]]), ["natural 0, PGD 1"], []),
    (
        "tsipras_features",
        shares(0.4, 0.9),
        ["40.0 % [38.0, 42.0] of", "90.0 % [88.0, 92.0] in adv"],
        ["overlap"],
    ),
    ("tsipras_features", shares(0.9, 0.9), ["overlap"], []),
]


@pytest.mark.parametrize("name, data, says, never", CASES)
def test_a_finding_follows_its_data(name, data, says, never):
    sentence = command.modules()[name].finding(data)
    assert all(part in sentence for part in says), sentence
    assert not any(part in sentence for part in never), sentence


def test_every_figure_is_tried_with_other_data():
    names = [name for name, *_ in CASES]
    assert set(names) == set(command.modules()) and all(names.count(name) > 1 for name in names)


def test_values_are_apart_only_where_their_intervals_are():
    nothing = (10.0, np.nan, np.nan)
    assert difference(HIGH, LOW) == 1 and difference(LOW, HIGH) == -1
    assert (
        difference(LOW, WIDE)
        == difference(LOW, LOW)
        == difference(nothing, LOW)
        == difference(LOW, nothing)
        == 0
    )
    assert with_interval(nothing) == "10.0 %" and with_interval((97, 91, 103.2)) == "97.0 % [91.0, 100.0]"
    assert with_interval((1, -2, 103), " points") == "1.0 points [-2.0, 103.0]"


@pytest.mark.parametrize(
    "seeds, pilot, says",
    [
        ((1,), {}, "d, one seed"),
        ((3, 3), {"train_per_class": 9}, "d pilot, 3 seeds"),
        ((1, 3), {}, "d, 1 to 3 seeds"),
    ],
)
def test_a_finding_begins_with_its_data_set_and_seeds(seeds, pilot, says):
    runs = {str(i): range(k) for i, k in enumerate(seeds)}
    assert subject(Data(protocol={"dataset": "d", **pilot}, runs=runs), runs) == says
