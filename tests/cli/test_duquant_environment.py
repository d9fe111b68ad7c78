"""The environment variables of DuQuant's openpi fork, as settings of a run."""

import pytest

from headless_eval.cli import duquant_environment
from headless_eval.cli.main import main
from headless_eval.config.run import RunConfig
from headless_eval.errors import UserError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in duquant_environment._VARIABLES:
        monkeypatch.delenv(f"{duquant_environment.PREFIX}{name}", raising=False)


def test_variables_are_settings():
    def read(**variables):
        return duquant_environment.read({duquant_environment.PREFIX + k: v for k, v in variables.items()})

    assert duquant_environment.read({"PATH": "/bin"}) is None
    assert read(PACKDIR="packs").settings.keys() == {"packdir"}
    assert read(DEBUG="1").dtype == "duquant_w4a8"
    asked = read(
        **{"WBITS_DEFAULT": "3", "ABITS": "0", "BLOCK": "16", "PERMUTE": "0", "ROW_ROT": "restore"},
        **{"ACT_PCT": "99.9", "LS": "0.15", "CALIB_STEPS": "8", "EXCLUDE": "norm", "DRYRUN": "1"},
        **{"SCOPE": "a.b.", "INCLUDE": "q_proj|fc1", "WBITS": "a.b.c:8, a.b.d:0", "PACKDIR": "packs"},
    )
    assert asked.dtype == "duquant_w3a16_b16_noperm_rowrot_pct99.9_ls0.15"
    config = RunConfig(**asked.settings)
    scope = config.precisions[1].scope
    assert config.dry_run
    assert config.calibration_steps == 8
    assert [scope.matches(name) for name in ("a.b.q_proj", "a.b.fc2", "z.a.b.fc1", "a.b.norm.fc1")] == [
        *(True, False, False, False)
    ]
    bits = config.precisions[1].method.bits
    assert [str(scope.bits_for([name], bits)) for name in ("a.b.c", "a.b.d", "a.b.c2")] == [
        *("w8a16", "w16a16", "w3a16")
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WBIT", "4", "did you mean OPENPI_DUQUANT_WBITS"),
        ("BLOCK_OUT", "4", "did you mean OPENPI_DUQUANT_BLOCK"),
        ("ABITS", "four", "2 to 8, or 0"),
        ("ABITS", "-1", "2 to 8, or 0"),
        ("BLOCK", "-1", "a whole number of 1 or more"),
        ("BLOCK", "0", "a whole number of 1 or more"),
        ("PERMUTE", "2", "it is 1 or 0"),
        ("INCLUDE", "(", "OPENPI_DUQUANT_INCLUDE is .* not a regular expression"),
        ("LS", "3", "OPENPI_DUQUANT_LS is .* between 0 and 1"),
        ("LS", "much", "a number is needed"),
        ("ROW_ROT", "propagate", "use restore or 0"),
        ("WBITS", "layer=8", "write LAYER:BITS"),
        ("ABITS", "12", "2 to 8"),
    ],
)
def test_wrong_variables(name, value, message):
    with pytest.raises(UserError, match=message):
        duquant_environment.read({duquant_environment.PREFIX + name: value})


def test_an_empty_variable_is_none():
    assert duquant_environment.read({duquant_environment.PREFIX + "ABITS": " "}) is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SCOPE", "policy.dit.", "scope 'OPENPI_DUQUANT_SCOPE=policy.dit.'"),
        ("PACKDIR", "/dev/null/packs", "with OPENPI_DUQUANT_PACKDIR"),
    ],
)
def test_errors_name_the_variable_that_was_set(name, value, said, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(duquant_environment.PREFIX + name, value)
    assert main(["run", "--videos", "none"]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_errors_name_the_layers_that_were_written():
    asked = duquant_environment.read({duquant_environment.PREFIX + "WBITS": "a.b:8,c.d-e:4"})
    patterns = [pair.partition("=")[0] for pair in asked.settings["bits"]]
    error = asked.explain(UserError(f"bits are given for {patterns[0]!r} and {patterns[1]!r}: see --bits"))
    assert str(error) == "bits are given for a.b and c.d-e: see OPENPI_DUQUANT_WBITS"


def test_a_dry_run_prints_the_layers_and_stops(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, value in (
        ("SCOPE", "paligemma_with_expert.gemma_expert.model."),
        ("INCLUDE", "up_proj"),
        ("WBITS", "paligemma_with_expert.gemma_expert.model.layers.1.mlp.up_proj:8"),
        ("DRYRUN", "1"),
    ):
        monkeypatch.setenv(duquant_environment.PREFIX + name, value)
    assert main(["run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith(": 6 linear layers")
    assert [line.split()[-1] for line in lines[:-1]] == ["w4a8", "w8a8", "w4a8", "w4a8", "w4a8", "w4a8"]
    assert not (tmp_path / "results").exists()
    for name in ("WBITS", "DRYRUN"):
        monkeypatch.delenv(f"{duquant_environment.PREFIX}{name}")
    assert main(["run", "--dtypes", "float32", "int4"]) == 2
    assert "which --dtypes lacks" in capsys.readouterr().err
