"""Settings of bench, profile and sensitivity: lists are not empty, numbers within bounds, types known."""

import pytest

from headless_eval.config.performance import BenchConfig, ProfileConfig, SensitivityConfig
from headless_eval.errors import UserError


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (BenchConfig, {"dtypes": ()}, "--dtypes names nothing"),
        (BenchConfig, {"batch": (0,)}, "--batch is 0; it must be 1 or more"),
        (BenchConfig, {"compute": ("float31",)}, "type to compute in 'float31': did you mean float32"),
        (ProfileConfig, {"compute": "int8"}, "type to compute in 'int8'"),
        (SensitivityConfig, {"tolerance": 0.0}, "--tolerance is 0; it must be above 0 (0.02 for 2 %)"),
        (SensitivityConfig, {"tolerance": float("nan")}, "--tolerance is nan"),
        (SensitivityConfig, {"modes": ()}, "--modes names nothing"),
        (SensitivityConfig, {"success": -1}, "--success is -1; it must be 0 or more"),
    ],
)
def test_values_that_make_no_measurement_are_refused(cls, values, message):
    with pytest.raises(UserError) as error:
        cls(**values)
    assert message in str(error.value)


def test_defaults_are_valid_and_bench_measures_some_engine():
    assert BenchConfig().all_engines
    assert ProfileConfig().compute == "float32"
    assert SensitivityConfig().tolerance == 0.02
