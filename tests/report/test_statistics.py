"""Each method against values published for it."""

from itertools import product

import pytest
from scipy.stats import norm

from headless_eval.report.statistics import (
    holm,
    mcnemar_exact,
    mcnemar_midp,
    newcombe_paired_interval,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_in_newcombe_1998_table_1(successes: int, n: int, low: float, high: float) -> None:
    # Statistics in Medicine 17, 857-872, Table I, method 3.
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_limits_are_where_the_score_test_just_rejects(level: float) -> None:
    z = norm.ppf((1 + level) / 2)
    for successes, n in ((3, 15), (14, 15), (47, 100)):
        for limit in wilson_interval(successes, n, level):
            score = abs(successes / n - limit) / (limit * (1 - limit) / n) ** 0.5
            assert score == pytest.approx(z, rel=1e-6)


def test_wilson_refuses_impossible_counts() -> None:
    for successes, n in ((3, 2), (-1, 5), (0, 0)):
        with pytest.raises(ValueError):
            wilson_interval(successes, n)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # Bentur et al. 2009, in Fagerland, Lydersen, Laake, "Recommended tests and confidence intervals for
        # paired binomial proportions", Statistics in Medicine 33 (2014) 2850-2875.
        ((1, 1, 7, 12), -0.507, -0.026),
        # Cavo et al. 2012, in Fagerland, Lydersen, Laake, "Statistical Analysis of Contingency Tables" (2017),
        # chapter 8.
        ((59, 6, 16, 80), -0.1186, -0.0046),
        # Altman, Machin, Bryant, Gardner, "Statistics with Confidence" (2000), chapter 6, Table 6.2.
        ((14, 5, 0, 22), 0.01, 0.23),
    ],
)
def test_newcombe_as_published(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    digits = 10 ** -len(f"{low}".split(".")[1])
    assert newcombe_paired_interval(*counts) == pytest.approx((low, high), abs=0.51 * digits)


def test_newcombe_holds_the_difference_and_mirrors() -> None:
    for a, b, c, d in product((0, 1, 4, 30), repeat=4):
        n = a + b + c + d
        if n == 0:
            continue
        low, high = newcombe_paired_interval(a, b, c, d)
        assert -1 <= low <= (b - c) / n <= high <= 1
        assert newcombe_paired_interval(a, c, b, d) == pytest.approx((-high, -low), abs=1e-12)


def test_newcombe_refuses_impossible_counts() -> None:
    for counts in ((0, 0, 0, 0), (3, -1, 0, 2)):
        with pytest.raises(ValueError, match="impossible"):
            newcombe_paired_interval(*counts)


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        # Fagerland, Lydersen, Laake, BMC Medical Research Methodology 13 (2013) 91: 2 P(X <= 1), X ~ B(8, 1/2).
        (1, 7, 0.0703),
        (7, 1, 0.0703),
        # 2 / 2^5 and 1 - both by hand.
        (0, 5, 0.0625),
        (4, 4, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar(b: int, c: int, p: float) -> None:
    assert mcnemar_exact(b, c) == pytest.approx(p, abs=5e-5)


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        # Fagerland, Lydersen, Laake, BMC Medical Research Methodology 13 (2013) 91: both worked examples.
        (1, 7, 0.039),
        (6, 16, 0.035),
        # By hand: exact 1, less half of C(6, 3) / 2^6.
        (3, 3, 1 - 20 / 64 / 2),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_midp(b: int, c: int, p: float) -> None:
    assert mcnemar_midp(b, c) == pytest.approx(p, abs=5e-4)


def test_holm_as_in_textbooks() -> None:
    # The example that the article "Holm-Bonferroni method" (Wikipedia) and its many copies work through.
    adjusted = holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_rejects_three_of_benjamini_and_hochbergs_fifteen() -> None:
    # Journal of the Royal Statistical Society B 57 (1995) 289-300, section 4: at 0.05 Bonferroni's and Hochberg's
    # procedures both reject the three smallest; Holm's rejects at least the former's and at most the latter's.
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p_values += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    adjusted = holm(p_values)
    assert [p <= 0.05 for p in adjusted] == [True] * 3 + [False] * 12
    assert adjusted == sorted(adjusted)
    assert adjusted[-1] == 1


def test_holm_of_none_and_one() -> None:
    assert holm([]) == []
    assert holm([0.03]) == [0.03]
