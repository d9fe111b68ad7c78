"""Normalisation statistics: the maps, their inverses, and refusal of malformed files."""

import json

import numpy as np
import pytest

from headless_eval.errors import UserError
from headless_eval.policies.norm_stats import (
    NormStats,
    make_norm_stats,
    plain_norm_stats,
    read_norm_stats,
    write_norm_stats,
)

STATS = NormStats(np.array([1.0, 2.0]), np.array([2.0, 4.0]), np.array([-1.0, 0.0]), np.array([1.0, 8.0]))
LISTS = {"mean": [0, 0], "std": [1, 1]}


@pytest.mark.parametrize("use_quantiles", [False, True])
def test_unnormalize_is_the_inverse_of_normalize(use_quantiles):
    values = np.random.default_rng(0).standard_normal((5, 3, 2))
    there = STATS.normalize(values, use_quantiles)
    np.testing.assert_allclose(STATS.unnormalize(there, use_quantiles), values, rtol=1e-9)


def test_mean_and_deviation_become_zero_and_one_and_quantiles_the_ends():
    np.testing.assert_allclose(
        STATS.normalize(np.array([[1.0, 2.0], [3.0, 6.0]]), False), [[0, 0], [1, 1]], 1e-5
    )
    np.testing.assert_allclose(
        STATS.normalize(np.array([[-1.0, 0.0], [1.0, 8.0]]), True), [[-1, -1], [1, 1]], 1e-5
    )


def test_statistics_that_cover_the_padding_serve_shorter_vectors():
    np.testing.assert_allclose(STATS.normalize(np.array([3.0]), False), [1.0], 1e-5)
    assert len(STATS) == 2


def test_a_constant_dimension_is_not_divided_by_zero():
    flat = NormStats(np.zeros(1), np.zeros(1), np.ones(1), np.ones(1))
    assert np.isfinite(flat.normalize(np.ones(1), False)).all()
    assert np.isfinite(flat.normalize(np.ones(1), True)).all()


def test_quantiles_that_are_missing_are_an_error():
    with pytest.raises(ValueError, match="quantiles"):
        NormStats(np.zeros(1), np.ones(1)).normalize(np.zeros(1), True)


def test_a_written_file_is_read_as_it_was(tmp_path):
    stats = {"state": STATS, "actions": NormStats(np.zeros(1), np.ones(1), epsilon=1e-3)}
    write_norm_stats(tmp_path / "assets" / "droid" / "norm_stats.json", stats)
    read = read_norm_stats(tmp_path / "assets" / "droid" / "norm_stats.json")
    for kind, of in stats.items():
        for name in ("mean", "std", "q01", "q99", "epsilon"):
            np.testing.assert_array_equal(getattr(read[kind], name), getattr(of, name))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (None, "hold no 'actions'"),
        ({"mean": [0]}, "of actions hold no 'std'"),
        (LISTS | {"std": [1]}, "differ in length: mean 2, std 1"),
        (LISTS | {"std": ["a", "b"]}, "'std' of actions is no list of numbers"),
        (LISTS | {"q01": [0, float("nan")]}, "'q01' of actions is no list of finite numbers"),
        (LISTS | {"mean": [[0, 0]]}, "'mean' of actions is no list of numbers"),
        (LISTS | {"mean": ["0", "0"]}, "'mean' of actions is no list of numbers"),
        (LISTS | {"mean": [True, False]}, "'mean' of actions is no list of numbers"),
        (LISTS | {"epsilon": 0}, "'epsilon' of actions is 0"),
        (LISTS | {"epsilon": True}, "'epsilon' of actions is True"),
    ],
)
def test_malformed_statistics_are_named(actions, message):
    with pytest.raises(UserError) as error:
        make_norm_stats({"state": LISTS, "actions": actions})
    assert message in str(error.value)


def test_files_without_statistics_are_named(tmp_path):
    path = tmp_path / "norm_stats.json"
    with pytest.raises(UserError, match="no normalisation statistics at"):
        read_norm_stats(path)
    for content, message in (
        ("{", "cannot read"),
        ("[]", "holds no 'norm_stats'"),
        ("{}", "holds no 'norm_stats'"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            read_norm_stats(path)
    path.write_text(json.dumps({"norm_stats": {"state": LISTS}}))
    with pytest.raises(UserError, match=r"norm_stats\.json: .* hold no 'actions'"):
        read_norm_stats(path)


def test_plain_statistics_change_nothing_but_the_last_digits():
    values = np.array([-0.5, 0.5])
    for of in plain_norm_stats({"state": 2, "actions": 3}).values():
        np.testing.assert_allclose(of.normalize(values, True), values, atol=1e-5)
        np.testing.assert_allclose(of.normalize(values, False), values, atol=1e-5)


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"norm_stats": ' * 5_000, '{"norm_stats": NaN}', '{"norm_stats": "\\ud800"}', "\udcff"],
)
def test_what_no_reader_should_meet_is_one_line(content, tmp_path):
    path = tmp_path / "norm_stats.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match="cannot read normalisation statistics") as error:
        read_norm_stats(path)
    assert "\n" not in str(error.value)
