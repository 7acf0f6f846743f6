"""Every family of theory against values computed elsewhere at 25 to 80 digits."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr

from theory.common.inputs import InputError
from theory.gaussian.adversary import best_direction, uniform_direction
from theory.gaussian.class_distance import distant_classes, gap_slope
from theory.gaussian.constrained import frl, natural_constraint
from theory.gaussian.fairness import (
    bias_z_scores,
    critical_margin,
    fair_bias,
    fair_error,
    natural_fairness_by_remargin,
    natural_fairness_by_reweight,
    price_of_fairness,
    reachable_bias,
    reweight_odds,
    robust_fairness_by_reweight,
)
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.optimal import optimal_bias, optimal_kind, optimal_z_scores
from theory.gaussian.problem import optimal_classifier
from theory.gaussian.surrogate import exponential_optimum, hinge_optimum, logistic_optimum
from theory.variants.imbalance import accuracy_disparity, effects
from theory.variants.multiclass import class_error, error_bounds, pair_z_scores
from theory.variants.stable import (
    cauchy_constant_ratio,
    cauchy_rootless_ratio,
    stable_cdf,
    stable_optimum,
    stable_pdf,
)
from theory.variants.tsipras import TsiprasModel, linear_accuracy, linear_error, natural_svm, robust_bound

CASES = json.loads((Path(__file__).parent / "data" / "theory_examples.json").read_text())["cases"]


def both(prefix, z):
    """Return errors and their logs of (+1, -1) under the names of the examples."""
    out = {f"{prefix}_plus": ndtr(z[0]), f"{prefix}_minus": ndtr(z[1])}
    head, _, tail = prefix.rpartition("R_")
    return out | {f"{head}logR_{tail}_{y}": log_ndtr(v) for y, v in zip(("plus", "minus"), z, strict=True)}


def gap(z):
    return ndtr(z[0]) - ndtr(z[1])


def t1_xu(d, eta, sigma, K, eps):
    mixture = GaussianMixture(dim=d, eta=eta, sigma=sigma, K=K)
    natural, robust = optimal_classifier(mixture), optimal_classifier(mixture, eps)
    out = {"m_nat": natural.margin, "m_rob": robust.margin, "b_nat": natural.bias, "b_rob": robust.bias}
    for name, c in (("f_nat", natural), ("f_rob", robust)):
        out |= both(f"{name}:R_nat", c.z_scores()) | both(f"{name}:R_rob", c.z_scores(eps))
        out[f"gap_nat_{name}"] = gap(c.z_scores())
    out["gap_rob_f_rob"] = gap(robust.z_scores(eps))
    return out | ({"w_rob": "basis" if np.ptp(robust.linear().weights) else "ones"} if d > 1 else {})


def weighted(bias, kind, mu, taken, sigma, K, weights, trained):
    if kind != "interior":
        return {"b": bias, "kind": kind, "objective": weights[1] if kind == "always_plus" else weights[0]}
    natural, robust = (bias_z_scores(bias, m, sigma, K) for m in (mu, mu - taken))
    objective = weights[0] * ndtr(trained[0]) + weights[1] * ndtr(trained[1])
    return {"b": bias, "kind": kind, "objective": objective} | both("R_nat", natural) | both("R_rob", robust)


def t1_lp(theta, p, eps, K, sigma, prior_plus):
    d = best_direction(theta, eps, f"l{p}")
    odds = np.log(prior_plus / (1 - prior_plus))
    kind, bias = str(optimal_kind(d.margin, sigma, K, odds)), float(optimal_bias(d.margin, sigma, K, odds))
    trained = optimal_z_scores(d.margin, sigma, K, odds)
    out = {"w": d.weights, "mu": d.mu, "rho": d.rho, "m": d.margin}
    return out | weighted(bias, kind, d.mu, eps * d.rho, sigma, K, (prior_plus, 1 - prior_plus), trained)


def t2_weighted(d, eta, sigma, K, prior_plus, cost_plus, cost_minus, eps_plus, eps_minus, eps_eval):
    mu, rho, m = map(float, uniform_direction(d, eta, (eps_plus + eps_minus) / 2))
    shift = (eps_plus - eps_minus) * rho / 2
    weights = prior_plus * cost_plus, (1 - prior_plus) * cost_minus
    odds = np.log(weights[0] / weights[1])
    kind, bias = str(optimal_kind(m, sigma, K, odds)), float(optimal_bias(m, sigma, K, odds)) + shift
    return {"m_bar": m, "shift": shift} | weighted(
        bias, kind, mu, eps_eval * rho, sigma, K, weights, optimal_z_scores(m, sigma, K, odds)
    )


def t2_fair(d, eta, sigma, K, eps):
    mu, _, m = map(float, uniform_direction(d, eta, eps))
    natural, robust = float(fair_bias(mu, K)), float(fair_bias(m, K))
    local, reachable = natural_fairness_by_reweight(mu, m, sigma, K)
    return {
        "b_fair_nat": natural,
        "b_fair_rob": robust,
        "err_fair_nat": fair_error(mu, sigma, K),
        "err_fair_rob": fair_error(m, sigma, K),
        "price_rob": price_of_fairness(m, sigma, K),
        "rob_gap_at_fair_nat": gap(bias_z_scores(natural, m, sigma, K)),
        "nat_gap_at_fair_rob": gap(bias_z_scores(robust, mu, sigma, K)),
        "reweight_ratio_fair_rob": np.exp(reweight_odds(robust, m, sigma, K)),
        "fair_rob_reachable_by_reweight": bool(robust_fairness_by_reweight(m, sigma, K)),
        "m_crit_fair_rob": critical_margin(sigma, K),
        "reweight_ratio_for_fair_nat_stationary": np.exp(reweight_odds(natural, m, sigma, K)),
        "fair_nat_local_min": bool(local),
        "fair_nat_reachable_by_reweight": bool(reachable),
        "fair_nat_reachable_by_pure_remargin": bool(natural_fairness_by_remargin(mu, sigma, K)),
        "lambda_fair_rob": frl(m, sigma, K, 0).multiplier,
    }


def t2_frl(m, sigma, K, tau):
    s, free = frl(m, sigma, K, tau), frl(m, sigma, K, 0.5)
    return {
        "b": s.bias,
        "R_rob_plus": ndtr(s.z[0]),
        "R_rob_minus": ndtr(s.z[1]),
        "active": s.active,
        "lam": s.multiplier,
        "F": s.objective,
        "b_uncon": free.bias,
        "F_uncon": free.objective,
    } | ({"dual_exact": not s.duality_gap} if s.active else {})


def t2_nat_constraint(d, eta, sigma, K, eps, tau):
    root = d**0.5
    ones = natural_constraint(root * eta, root * (eta - eps), sigma, K, tau)
    basis = natural_constraint(eta, eta - eps, sigma, K, tau)
    return {
        "ones:b": ones[0],
        "ones:F": ones[1],
        "basis:b": basis[0],
        "basis:F": basis[1],
        "ones_beats_basis": ones[1] <= basis[1],
        "suff_local_opt_ones": eps < 2 * eta / (K + 1),
    }


def t2_frontier(m, sigma, K):
    bias, odds = reachable_bias(m, sigma, K)
    plus, minus = bias_z_scores(bias, m, sigma, K)
    return {"b_c": bias, "r_c": odds, "R_plus_c": ndtr(plus), "R_minus_c": ndtr(minus)}


def t3_gauss(theta, p, eps, sigma, R):
    d, natural = best_direction(theta, eps, f"l{p}"), best_direction(theta, 0, "l2")
    mu0, mu, m = natural.mu / sigma, d.mu / sigma, d.margin / sigma
    e = effects(mu0, mu, m, R)
    out = {"m_over_sigma": m, "mu_over_sigma": mu, "inherent": e.inherent}
    out |= {
        "b_std": -(sigma**2) * np.log(R) / (2 * natural.mu),
        "b_rob": -(sigma**2) * np.log(R) / (2 * d.margin),
    }
    out |= {"AD_std": accuracy_disparity(mu0, mu0, R), "AD_rob": accuracy_disparity(mu, m, R)}
    for i, y in enumerate(("plus", "minus")):
        out |= {f"std_acc_{y}": e.standard[i], f"rob_train_nat_acc_{y}": e.robust_trained[i]}
        out |= {f"rob_acc_{y}": e.robust[i], f"imbalance_{y}": e.imbalance[i]}
    return out


def t3_cauchy(m, gamma, R):
    ratios = {"R_noroot": cauchy_rootless_ratio(m, gamma), "R_const": cauchy_constant_ratio(m, gamma)}
    return ratios | t3_holtsmark(1.0, m, R, gamma)


def t3_holtsmark(alpha, m, R, gamma=1.0):
    s = stable_optimum(m, gamma, R, alpha)
    out = {"kind": s.kind, "objective": s.objective}
    return out | (
        {"b": s.bias, "R_plus": s.errors[0], "R_minus": s.errors[1]} if s.kind == "interior" else {}
    )


def t3_stable_law(alpha, x):
    return {"pdf": stable_pdf(x, alpha), "cdf": stable_cdf(x, alpha)}


def t4_linear(d, p, eta, eps, w1, v, b):
    model = TsiprasModel(dim=d, p=p, eta=eta)
    delta = linear_error(model, w1, v, b)
    out = {
        "delta": delta,
        "std_acc": linear_accuracy(model, w1, v, b),
        "rob_acc": linear_accuracy(model, w1, v, b, eps),
    }
    try:
        return out | {"bound": robust_bound(model, delta, eps), "bound_applies": True}
    except InputError:
        return out | {"bound": p / (1 - p) * delta, "bound_applies": False}


def t4_svm_nat(p, D):
    s = natural_svm(p, D)
    return {
        "phi": s.phi,
        "w1": np.cos(s.phi),
        "loss": s.loss,
        "std_acc": 1 - s.natural_error,
        "rob_acc_2eta_only_xprime": s.robust_accuracy,
    }


def t5_dafa(d, eta, sigma, K, alpha, eps):
    x = distant_classes(GaussianMixture(dim=d, eta=eta, sigma=sigma, K=K), alpha, eps)
    return (
        both("R_nat", x.natural_z)
        | both("R_rob", x.robust_z)
        | {
            "b_centered": x.centered_bias,
            "b_original": x.bias,
            "gap_rob": gap(x.robust_z),
            "gap_nat": gap(x.natural_z),
            "ratio_rob": np.exp(np.subtract(*log_ndtr(x.robust_z))),
            "dgap_dm": gap_slope(d**0.5 * (eta * (1 + alpha) / 2 - eps), sigma, K),
        }
    )


def t6_surrogate(m, sigma, K):
    log = logistic_optimum(GaussianMixture(dim=1, eta=m, sigma=sigma, K=K))
    exp, hinge = exponential_optimum(m, sigma, K), hinge_optimum(m, sigma, K)
    out = {"exp:loss": exp[2], "hinge:t": hinge[2], "zero_one:b": optimal_bias(m, sigma, K)}
    out |= {"logistic:beta": log.bias, "logistic:v_perp": log.orthogonal_variance}
    out["logistic:V"] = log.covariance[np.triu_indices(2)]
    for name, scale, b in (
        ("exp", *exp[:2]),
        ("hinge", *hinge[:2]),
        ("logistic", log.scale, log.bias / log.scale),
    ):
        plus, minus = bias_z_scores(b, m, sigma, K)
        out |= {
            f"{name}:scale": scale,
            f"{name}:b": b,
            f"{name}:R_plus": ndtr(plus),
            f"{name}:R_minus": ndtr(minus),
        }
    return out


def t7_multiclass(W, b, mu0, sigma, eps, p):
    natural, R = pair_z_scores(W, b, mu0, sigma**2, 0)
    robust, _ = pair_z_scores(W, b, mu0, sigma**2, 0, eps, f"l{p}")
    low, high = error_bounds(robust)
    return {
        "pair_nat": ndtr(natural),
        "pair_rob": ndtr(robust),
        "lower_rob": low,
        "union_rob": high,
        "exact_rob": class_error(robust, R),
        "exact_nat": class_error(natural, R),
        "corr": R[0, 1],
    }


TOLERANCE = {"T3_holtsmark": 1e-6, "T3_stable_law": 1e-6, "T6_surrogate": 1e-8}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["id"])
def test_example(case):
    found = globals()[case["result"].lower()](**case["params"])
    tolerance = TOLERANCE.get(case["result"], 1e-10)
    unchecked = set(case["expected"]) - set(found) - {"A", "B", "q", "w_rob"}
    assert not unchecked
    for name in set(case["expected"]) & set(found):
        expected, value = case["expected"][name], found[name]
        if isinstance(expected, bool) or (
            isinstance(expected, str) and expected.isidentifier() and expected != "inf"
        ):
            assert value == expected, name
        else:
            number = np.array(expected, dtype=float)
            np.testing.assert_allclose(value, number, rtol=tolerance, atol=1e-300, err_msg=name)


@pytest.mark.parametrize("family", sorted({c["result"] for c in CASES}))
def test_the_comparison_sees_a_wrong_parameter(family):
    """With one parameter changed by a ten-thousandth the values no longer agree."""
    case = next(
        c for c in CASES if c["result"] == family and c["expected"].get("kind", "interior") == "interior"
    )
    name = next(n for n in ("R", "sigma", "x", "m", "D", "p") if isinstance(case["params"].get(n), float))
    wrong = case | {"params": case["params"] | {name: case["params"][name] * (1 + 1e-4)}}
    with pytest.raises(AssertionError):
        test_example(wrong)
