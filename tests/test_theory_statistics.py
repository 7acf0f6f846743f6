"""Every interval and p-value from both sides: too narrow fails, and so does too wide.

Where outcomes can be enumerated the coverage is exact. Simulations have a fixed seed and bounds about four
standard errors from what is expected (a false alarm in 1e4 seeds): a factor of two in a variance or a level
is seen, and a new seed is no reason to fail.
"""

import numpy as np
import pytest
from scipy import stats

from theory.networks.agreement import agreement, explained_variance, pair_ratios
from theory.networks.changes import judged, tally
from theory.networks.margin_model import MarginPrediction, MarginSamples
from theory.results.counts import exact_interval, mean_interval
from theory.results.intervals import mcnemar, null_gap, paired_interval, worst_set
from theory.results.paired import Change, Pair, average_over, change_of, holm, pooled_variance

Z = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""


def binomial(n, rate):
    return stats.binom.pmf(np.arange(n + 1), n, rate)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_each_end_of_the_exact_interval_leaves_half_of_the_level(confidence):
    """Clopper and Pearson (1934): k errors or fewer have probability (1 - confidence) / 2 at the end."""
    n, k = 40, np.arange(41)
    low, high = exact_interval(k, n, confidence).T
    tail = (1 - confidence) / 2
    assert stats.binom.cdf(k[:-1], n, high[:-1]) == pytest.approx(np.full(40, tail), rel=1e-6)
    assert stats.binom.sf(k[1:] - 1, n, low[1:]) == pytest.approx(np.full(40, tail), rel=1e-6)
    assert low[0] == 0 and high[-1] == 1
    rates = np.linspace(0.001, 0.999, 999)
    covered = [binomial(n, r)[(low <= r) & (r <= high)].sum() for r in rates]
    assert min(covered) >= confidence - 1e-12


def test_the_t_interval_has_its_level():
    """Golden values of Student's t, 0.975 quantiles of 2, 3 and 9 degrees of freedom."""
    for n, quantile in ((3, 4.302652730), (4, 3.182446305), (10, 2.262157163)):
        values = np.arange(n) * 0.01
        mean, low, high = mean_interval(values)
        half = quantile * values.std(ddof=1) / n**0.5
        assert (mean - low, high - mean) == pytest.approx((half, half), rel=1e-8)


def trinomial(n, lost, won):
    """Return counts (lost, won) and their probabilities."""
    b, c = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    inside = b + c <= n
    b, c = b[inside], c[inside]
    return b, c, stats.multinomial.pmf(np.stack([b, c, n - b - c], 1), n, [lost, won, 1 - lost - won])


@pytest.mark.parametrize("confidence, low, high", [(0.95, 0.94, 0.96), (0.8, 0.785, 0.82)])
def test_the_paired_interval_covers_as_often_as_it_says(confidence, low, high):
    """Exact, by enumeration, on average over true changes; half samples make it a little wide."""
    covered = []
    for lost in (0.1, 0.2, 0.3, 0.45):
        for won in (0.1, 0.2, 0.35):
            b, c, weight = trinomial(60, lost, won)
            ends = paired_interval(b, c, 60, confidence)
            covered.append(weight[(ends[:, 0] <= lost - won) & (lost - won <= ends[:, 1])].sum())
    assert low < np.mean(covered) < high


@pytest.mark.parametrize("change", [0.0, 0.1])
def test_mcnemars_p_value_is_exact(change):
    """Without a change p <= 0.05 in at most 5 % of tables, yet no stricter than a discrete test must be."""
    b, c, weight = trinomial(60, 0.2 + change, 0.2)
    p = mcnemar(b, c)
    wrong = weight[p <= 0.05].sum()
    assert wrong > 0.1 if change else 0.02 < wrong <= 0.05
    for discordant in (9, 12, 20):  # the smallest p-value is that of the most extreme of 2^m tables
        assert mcnemar(0, discordant) == pytest.approx(2 * 0.5**discordant, rel=1e-9)


def test_the_gap_of_equal_classes_is_significant_as_often_as_it_says():
    """P(p <= q) of the p-value of the gap of three equal classes, by enumeration: at most q, and near it."""
    n, rate = (12, 12, 12), 0.4
    weight = np.einsum("i,j,k->ijk", *(binomial(size, rate) for size in n))
    k = np.indices(weight.shape)
    gap = (k.max(0) - k.min(0)) / 12
    p = {g: null_gap(n, rate, g)[1] for g in np.unique(gap)}
    for g, value in p.items():
        assert weight[gap >= g - 1e-9].sum() == pytest.approx(value, rel=1e-9)
    assert null_gap(n, rate, 0.0)[0] == pytest.approx((weight * gap).sum(), rel=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_the_worst_set_compares_at_the_level_shared_by_the_other_classes(classes):
    """Left out iff some other class is larger at p <= 0.05 / (C - 1): Fisher's exact test, and Bonferroni's
    factor.

    Counts are put on both sides of that level, so that a factor of C / (C - 1) changes a set.
    """
    n, level = 200, 0.05 / (classes - 1)
    other = 60

    def fisher(k):
        return stats.hypergeom.sf(k - 1, 2 * n, k + other, n)

    k = np.arange(other, n)
    first = int(k[fisher(k) <= level][0])
    assert level * 0.5 < fisher(first) <= level < fisher(first - 1) < level * 2
    others = [other] * (classes - 1)
    assert worst_set([first, *others], [n] * classes) == [0]
    assert worst_set([first - 1, *others], [n] * classes) == list(range(classes))


def test_the_worst_set_leaves_out_the_worst_class_as_seldom_as_it_says():
    """Exact for two classes: the truly worst one is left out with probability at most 5 %, but not never."""
    n, rate = 80, 0.3
    k = np.arange(n + 1)
    weight = np.outer(binomial(n, rate), binomial(n, rate))
    p = stats.hypergeom.sf(k[None, :] - 1, 2 * n, k[None, :] + k[:, None], n)  # the second is larger
    missed = weight[(p <= 0.05) & (k[None, :] > k[:, None])].sum()
    assert 0.025 < missed <= 0.05
    rng = np.random.default_rng(0)
    drawn = rng.binomial(n, rate, (2000, 2))
    share = np.mean([0 not in worst_set(d, [n, n]) for d in drawn])
    assert abs(share - missed) < 4 * (missed / 2000) ** 0.5


def test_holm_keeps_the_level_of_the_family_and_wastes_none_of_it():
    """Of K independent true nulls the smallest adjusted p is <= q with probability 1 - (1 - q / K)^K."""
    rng, q = np.random.default_rng(0), 0.2
    for size in (1, 3, 8):
        p = rng.random((4000, size))
        rejected = np.mean([min(holm(row)) <= q for row in p])
        expected = 1 - (1 - q / size) ** size
        assert abs(rejected - expected) < 4 * (expected * (1 - expected) / 4000) ** 0.5
        false = np.array([[1e-12, *row[1:]] for row in p])  # one false null: one fewer is left to adjust for
        if size > 1:
            rejected = np.mean([min(holm(row)[1:]) <= q for row in false])
            expected = 1 - (1 - q / (size - 1)) ** (size - 1)
            assert abs(rejected - expected) < 4 * (expected * (1 - expected) / 4000) ** 0.5


# --- paired changes


def crossed(rng, *, images, seeds, image_sd, seed_sd, size):
    """Return one method and its base on ``images`` of a population, in ``seeds`` trainings; nothing
    changed.
    """
    which = rng.choice(len(size), images, replace=False)
    pairs = []
    for _ in range(seeds):
        shift = rng.normal(0, seed_sd, 2)
        noise = rng.normal(size=(2, images))
        level = image_sd * size[which] + noise + shift[:, None]
        pairs.append(Pair(which, np.zeros(images, np.int64), level[0] > 0, level[1] > 0))
    return change_of(pairs, average_over())


def psi(pairs):
    """Return what each image adds to the change of each seed, shape (S, images), 0 where it is not tested."""
    images = np.unique(np.concatenate([p.index for p in pairs]))
    out = np.zeros((len(pairs), len(images)))
    for row, p in zip(out, pairs, strict=True):
        change = p.method.astype(float) - p.base
        row[np.searchsorted(images, p.index)] = (change - change.mean()) / len(change) / len(pairs)
    return out


@pytest.mark.parametrize("seed_sd", [0.0, 0.3, 3.0])
def test_the_variance_of_a_change_is_that_of_two_way_clustering(seed_sd):
    """By the definition: V = max(V_I, V_S, V_I + V_S - V_0), with half samples in V_I."""
    rng = np.random.default_rng(3)
    pairs = []
    for _ in range(4):
        index = rng.permutation(50)[:40]
        shift = rng.normal(0, seed_sd, 2)
        base, method = rng.normal(size=(2, 40)) + shift[:, None] > 0
        pairs.append(Pair(index, np.zeros(40, np.int64), base, method))
    change, each = change_of(pairs, average_over()), psi(pairs)
    n, mean = each.shape[1], change.mean
    by_image = n * each.sum(0) + mean  # the change of each image; one half sample changes by 1, one by -1
    counted = np.concatenate([by_image, [0.5**0.5, -(0.5**0.5), 0, 0]])
    total, half_mean = n + 2, by_image.sum() / (n + 2)
    of_images = ((counted @ counted) / total - half_mean**2) / total
    of_seeds = change.seeds.var(ddof=1) / 4
    variance = max(of_images, of_seeds, of_images + of_seeds - (each**2).sum())
    half = stats.t.ppf(0.975, 3) * variance**0.5
    pooled = pooled_variance([change])
    assert pooled == pytest.approx((change.seeds.var(ddof=1), 3))
    assert change.over_both(pooled) == pytest.approx((mean - half, mean + half), rel=1e-9)
    assert change.p(pooled) == pytest.approx(2 * stats.t.sf(abs(mean) / variance**0.5, 3), rel=1e-9)
    half = Z * of_images**0.5
    assert change.over_images() == pytest.approx((half_mean - half, half_mean + half), rel=1e-9)
    assert change.over_seeds() == pytest.approx(stats.t.interval(0.95, 3, mean, of_seeds**0.5), rel=1e-9)


@pytest.mark.parametrize("image_sd, seed_sd", [(0.3, 0.0), (0.3, 0.3), (3.0, 0.15)])
def test_the_variance_of_a_change_is_neither_too_small_nor_too_large(image_sd, seed_sd):
    """Simulated trainings on simulated test sets: the mean of V against the variance of the change.

    500 repeats know the latter to 6 % (one standard error); where one of the two sources is weak the largest
    of three estimates is about a third too large, by design.
    """
    rng = np.random.default_rng(1)
    size = rng.normal(size=4000)
    changes = [
        crossed(rng, images=120, seeds=6, image_sd=image_sd, seed_sd=seed_sd, size=size) for _ in range(500)
    ]
    truth = np.var([c.mean for c in changes])
    halves = [np.ptp(c.over_both(pooled_variance([c]))) / 2 for c in changes]
    estimated = np.mean(np.square(halves)) / stats.t.ppf(0.975, 5) ** 2
    assert 0.8 * truth < estimated < 1.6 * truth
    missed = np.mean([c.p(pooled_variance([c])) <= 0.05 for c in changes])
    assert (0.02 if seed_sd == 0.3 else 0.0) < missed < 0.08
    assert all(
        (c.p(pooled_variance([c])) <= 0.05) == (not np.prod(c.over_both(pooled_variance([c]))) <= 0)
        for c in changes[:100]
    )


@pytest.mark.parametrize("methods, seeds", [(1, 3), (4, 3), (8, 5)])
def test_the_pooled_variance_has_its_degrees_of_freedom(methods, seeds):
    """A variance with f degrees of freedom scatters by 2 / f of its square: f is measured, not assumed.

    Methods share the noise of their base. 3000 repeats know f to 5 %; four methods that share none would have
    1.75 times the f of four that share a base.
    """
    rng = np.random.default_rng(0)
    base, own = rng.normal(size=(3000, 1, seeds)), rng.normal(size=(3000, methods, seeds))
    none = np.zeros(1)
    result = [pooled_variance([Change(d, 0.0, none, 0.0) for d in drawn]) for drawn in own - base]
    variance, free = np.transpose(result)
    assert np.ptp(free) == 0
    assert variance.mean() == pytest.approx(2.0, rel=0.05)  # of a difference of two unit variances
    assert 2 * variance.mean() ** 2 / variance.var() == pytest.approx(free[0], rel=0.2)
    assert free[0] == pytest.approx(methods * (seeds - 1) / (1 + (methods - 1) / 4))


def test_the_larger_of_its_own_and_the_pooled_variance_is_taken():
    """Golden: a method that varies more than the others has its own variance, the others have the mean."""
    wild, calm = np.array([-0.03, 0.0, 0.06]), np.array([0.01, 0.0, 0.005])
    changes = [Change(d, float(d.mean()), np.zeros(10**6), 0.0) for d in (wild, calm)]
    pooled = pooled_variance(changes)
    assert pooled == pytest.approx(((wild.var(ddof=1) + calm.var(ddof=1)) / 2, 4 / 1.25))
    for change, variance in zip(changes, (wild.var(ddof=1), pooled[0]), strict=True):
        half = np.ptp(change.over_both(pooled)) / 2
        assert half == pytest.approx(stats.t.ppf(0.975, 3.2) * (variance / 3) ** 0.5, rel=1e-4)


def test_the_interval_over_seeds_and_methods_covers_as_often_as_it_says():
    """All noise is of the seeds: with one method it is Student's t; with several the larger variance is
    taken.
    """
    rng = np.random.default_rng(2)
    missed = {1: 0.0, 5: 0.0}
    for methods in missed:
        draws = rng.normal(size=(1500, methods, 3)) - rng.normal(size=(1500, 1, 3))
        rows = []
        for drawn in 1e-2 * draws:
            changes = [Change(d, float(d.mean()), np.zeros(2000), 0.0) for d in drawn]
            low, high = changes[0].over_both(pooled_variance(changes))
            rows.append(not low <= 0 <= high)
        missed[methods] = float(np.mean(rows))
    assert abs(missed[1] - 0.05) < 4 * (0.05 * 0.95 / 1500) ** 0.5
    assert 0.008 < missed[5] < 0.05


def test_the_bootstrap_of_margins_has_the_spread_of_a_mean():
    """Resampling with replacement within a class: the variance of its mean is that of the sample over n."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [50, 80])
    margin = rng.normal(size=(130, 2))
    margin[np.arange(130), labels] = 0.0
    samples = MarginSamples(labels, margin, np.ones((130, 2)))
    again = [samples.resampled(rng) for _ in range(2000)]
    assert all((s.labels == labels).all() for s in again[:20])
    for c, n in ((0, 50), (1, 80)):
        spread = np.var([s.margin[labels == c, 1 - c].mean() for s in again])
        assert spread == pytest.approx(margin[labels == c, 1 - c].var() / n, rel=0.13)  # 4 standard errors
    values = rng.normal(size=(4000, 2, 3))
    low, high = MarginPrediction(None, np.zeros((2, 3)), values, ()).interval()
    assert low == pytest.approx(np.full((2, 3), -Z), abs=0.17) and high == pytest.approx(-low, abs=0.3)
    assert (low > -2.2).all() and (low < -1.75).all() and (high < 2.2).all() and (high > 1.75).all()


# --- agreement of predictions with counts


def test_the_residual_interval_is_that_of_jeffreys_prior():
    """With nothing uncertain in the prediction it holds the 2.5 and 97.5 % points of Beta(k + 1/2, n - k +
    1/2).
    """
    k, n, predicted = np.array([0, 3, 30]), np.array([60, 60, 60]), np.array([0.01, 0.05, 0.5])
    result = agreement(predicted, np.tile(predicted, (3000, 1)), k, n, seed=0)
    ends = stats.beta.ppf([[0.025], [0.975]], k + 0.5, n - k + 0.5) - predicted
    low, high = result.residual_interval.T
    residual = k / n - predicted
    assert low == pytest.approx(np.minimum(ends[0], residual), abs=0.012)
    assert high == pytest.approx(np.maximum(ends[1], residual), abs=0.012)
    assert high[0] == pytest.approx(ends[1][0], rel=0.12)  # a uniform prior would give 1.4 times as much


@pytest.mark.parametrize("flips", [0.01, 0.05])
def test_the_rank_interval_has_its_level(flips):
    """Two classes, ordered the other way in a known share of samples: -1 is in it iff that is above 2.5 %."""
    n = 4000
    apart = -stats.norm.ppf(flips) * (2 * 0.25 / n) ** 0.5
    k = np.round(n * np.array([0.5 - apart / 2, 0.5 + apart / 2])).astype(int)
    predicted = np.array([0.4, 0.6])
    result = agreement(predicted, np.tile(predicted, (1500, 1)), k, [n, n], seed=1)
    assert result.rank == pytest.approx((1.0, -1.0 if flips > 0.025 else 1.0, 1.0))
    right = agreement(k / n, np.tile(k / n, (1500, 1)), k, [n, n], seed=1)
    low, mean, high = right.if_right
    assert (low, high) == pytest.approx((min(result.rank[1], mean), 1.0))
    assert mean == pytest.approx(1 - 2 * flips, abs=0.025)


def test_the_interval_of_explained_variance_is_the_percentile_one():
    """Against its own simulation: binomial counts redrawn at the measured rates, and their 95 % range."""
    predicted, k, n = np.array([0.2, 0.35, 0.5, 0.6]), np.array([25, 40, 48, 66]), np.full(4, 100)
    result = agreement(predicted, np.tile(predicted, (2500, 1)), k, n, seed=0)
    drawn = np.random.default_rng(7).binomial(100, k / 100, (8000, 4)) / 100
    low, high = np.quantile([explained_variance(predicted, row) for row in drawn], [0.025, 0.975])
    value = explained_variance(predicted, k / 100)
    assert result.explained[0] == pytest.approx(value)
    assert value - result.explained[1] == pytest.approx(value - low, rel=0.11)
    assert result.explained[2] - value == pytest.approx(high - value, rel=0.11)


def test_the_interval_of_K_covers_as_often_as_it_says():
    """Two classes of a known K, 300 samples each; posterior of a half prior, 95 %."""
    rng, K = np.random.default_rng(0), 1.8
    z, rise = np.array([-0.9, -1.1]), np.array([0.4, 0.4 * K])
    p = stats.norm.cdf([z, z + rise])
    inside = 0
    for seed in range(500):
        counts = [rng.multinomial(300, [a, b - a, 1 - b]) for a, b in p.T]
        natural = np.array([[0, counts[0][0]], [counts[1][0], 0]])
        robust = natural + np.array([[0, counts[0][1]], [counts[1][1], 0]])
        _, low, high = pair_ratios(natural, robust, [300, 300], draws=400, seed=seed)
        inside += low[0, 1] <= K <= high[0, 1]
    assert 0.91 < inside / 500 < 0.985  # a 90 % or a 99 % interval would be outside


def test_the_prior_of_K_is_half_a_sample_of_each_outcome():
    """Golden: without any error K is 1, and its interval is that of Dirichlet(1/2, 1/2, n + 1/2) draws."""
    n = 40
    K, low, high = pair_ratios(np.zeros((2, 2)), np.zeros((2, 2)), [n, n], draws=20_000, seed=0)
    drawn = np.random.default_rng(9).dirichlet([0.5, 0.5, n + 0.5], (2, 20_000))
    rise = -stats.norm.ppf(drawn[..., 2]) - stats.norm.ppf(drawn[..., 0])
    expected = np.quantile(np.log(rise[1] / rise[0]), [0.025, 0.975])
    assert K == pytest.approx(np.ones((2, 2)))
    assert np.log([low[0, 1], high[0, 1]]) == pytest.approx(expected, rel=0.06)


def test_the_share_of_agreeing_changes_has_the_exact_interval():
    before, after = np.zeros(40, bool), np.arange(40) < 12
    good = judged("a", "robust_error", (-0.1, -0.2, 0.0), before, after)
    bad = judged("a", "robust_error", (0.1, 0.0, 0.2), before, after)
    counts, ends = tally([good] * 7 + [bad])
    assert (counts["agrees"], counts["differs"]) == (7, 1)
    assert ends == pytest.approx(stats.binomtest(7, 8).proportion_ci(0.95, "exact"), rel=1e-6)
    assert good.measured == pytest.approx((-0.3, *paired_interval(0, 12, 40)))
    assert good.p == pytest.approx(2 * 0.5**12)
