"""Class-wise robustness in closed form, and what every layer measures.

Two Gaussian classes and linear classifiers
    `GaussianMixture`, `Problem`; `optimal_classifier`, `fair_classifier`, `fairness_price`; the errors of a
    `GaussianClassifier` are exact: ``.errors(eps)``.
What no classifier can beat, many classes, few samples
    `two_class_floor`, `worst_class_floor`, `average_floor`; `nearest_mean_errors`; `sample_curve`.
Theorems, each with a check that can fail
    `statements`, `check_statement`.
What was measured
    `read_studies` compares runs, `findings` says what each method changes; `read_runs`, `RunFiles`,
    `read_records`, `Record`, `ClassErrors`.
Theory applied to networks
    `MarginSamples`, `predict_errors`; `RobustMargins`, `choose_offsets`, `offsets_within`.
Refusals
    `InputError`: one sentence that names what was given and what is allowed.

    >>> import theory
    >>> mixture = theory.GaussianMixture(dim=20, eta=0.4, sigma=1.0, K=2.0)
    >>> [round(error, 3) for error in theory.optimal_classifier(mixture, "4/25").errors("4/25").robust]
    [0.328, 0.104]
"""

from typing import TYPE_CHECKING

from theory.common.lazy import front_door
from theory.common.moved import find_in_rooms

if TYPE_CHECKING:
    from theory.common.inputs import InputError as InputError
    from theory.gaussian.mixture import GaussianMixture as GaussianMixture
    from theory.gaussian.problem import GaussianClassifier as GaussianClassifier
    from theory.gaussian.problem import Problem as Problem
    from theory.gaussian.problem import fair_classifier as fair_classifier
    from theory.gaussian.problem import fairness_price as fairness_price
    from theory.gaussian.problem import optimal_classifier as optimal_classifier
    from theory.networks.class_offsets import RobustMargins as RobustMargins
    from theory.networks.class_offsets import choose_offsets as choose_offsets
    from theory.networks.class_offsets import offsets_within as offsets_within
    from theory.networks.margin_model import MarginSamples as MarginSamples
    from theory.networks.margin_model import predict_errors as predict_errors
    from theory.results.counts import ClassErrors as ClassErrors
    from theory.results.findings import findings as findings
    from theory.results.records import Record as Record
    from theory.results.records import read_records as read_records
    from theory.results.runs import RunFiles as RunFiles
    from theory.results.runs import read_runs as read_runs
    from theory.results.study import read_studies as read_studies
    from theory.theorems import check_statement as check_statement
    from theory.theorems import statements as statements
    from theory.variants.floors import average_floor as average_floor
    from theory.variants.floors import two_class_floor as two_class_floor
    from theory.variants.floors import worst_class_floor as worst_class_floor
    from theory.variants.many_classes import nearest_mean_errors as nearest_mean_errors
    from theory.variants.sample_curve import sample_curve as sample_curve

HOMES = {
    "ClassErrors": "results.counts",
    "GaussianClassifier": "gaussian.problem",
    "GaussianMixture": "gaussian.mixture",
    "InputError": "common.inputs",
    "MarginSamples": "networks.margin_model",
    "Problem": "gaussian.problem",
    "Record": "results.records",
    "RobustMargins": "networks.class_offsets",
    "RunFiles": "results.runs",
    "average_floor": "variants.floors",
    "check_statement": "theorems",
    "choose_offsets": "networks.class_offsets",
    "fair_classifier": "gaussian.problem",
    "fairness_price": "gaussian.problem",
    "findings": "results.findings",
    "nearest_mean_errors": "variants.many_classes",
    "offsets_within": "networks.class_offsets",
    "optimal_classifier": "gaussian.problem",
    "predict_errors": "networks.margin_model",
    "read_records": "results.records",
    "read_runs": "results.runs",
    "read_studies": "results.study",
    "sample_curve": "variants.sample_curve",
    "statements": "theorems",
    "two_class_floor": "variants.floors",
    "worst_class_floor": "variants.floors",
}

find_in_rooms("theory")
__all__, __getattr__, __dir__ = front_door("theory", HOMES)
__version__ = "0.1.0"
