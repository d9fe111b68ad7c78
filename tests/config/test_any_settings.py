"""Settings files of any content: what was written is read, and anything else is one line."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from properties import anything, damaged, few, outcome

from headless_eval.config.run import RunConfig
from headless_eval.config.settings_file import combinations, read_settings, to_text
from headless_eval.config.simulation import parts
from headless_eval.errors import UserError
from headless_eval.shared.flags import build, with_parts
from headless_eval.shared.toml import to_toml

WHOLE = to_text(RunConfig(variant=("float32", "five=int8_both+flow_steps=5"), episodes=3)).encode()
NAMES = [one.name for one in with_parts(RunConfig, parts("droid")) if one.flag.stated]


def read(path: Path) -> RunConfig | UserError:
    """Return the settings of a file's first run, or the error, which has to be one line."""

    def settings() -> RunConfig:
        (only, *_) = combinations(path, read_settings(path))
        return build(RunConfig, only.values, parts(str(only.values.get("suite", "droid"))))

    return outcome(settings)


def some(*names: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), min_size=1, unique=True).map(tuple)


@few
@given(
    config=st.builds(
        RunConfig,
        episodes=st.integers(1, 10**5),
        seed=st.integers(0, 2**63 - 1),
        slots=st.integers(1, 64),
        retries=st.integers(0, 9),
        dtypes=some("int8", "int4", "bfloat16").map(lambda names: ("float32", *names)),
        modes=some("weights_only", "activations_only", "both"),
        videos=st.sampled_from(["all", "failures", "none"]),
        video_fps=st.floats(0.5, 60),
        tasks=some("1", "2", "scene_3"),
        sequential=st.none() | st.floats(0.01, 0.5),
    )
)
def test_settings_survive_their_file(config: RunConfig, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(to_text(config))
    assert read(path) == config


@few
@given(name=st.sampled_from(NAMES) | st.text(max_size=5), value=anything)
def test_any_value_of_a_setting_is_taken_or_refused(name: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(to_toml({name: value}).encode(errors="surrogatepass"))
    assert isinstance(read(path), RunConfig | UserError)


@few
@given(data=damaged(WHOLE))
def test_a_damaged_file_is_read_or_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(data)
    assert isinstance(read(path), RunConfig | UserError)
