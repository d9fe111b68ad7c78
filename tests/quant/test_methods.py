import subprocess
import sys

import pytest
import torch
from quant_cases import METHOD_NAMES, ToyStack, relative

from headless_eval.cli import catalogue
from headless_eval.config.catalogue import ListConfig
from headless_eval.contracts.registry import Registry
from headless_eval.errors import UserError
from headless_eval.quant import DuQuant, Precision, RoundToNearest, SmoothQuant, methods, quantize_
from headless_eval.quant.methods import Bits, Method, parse_method


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_name_says_all_of_a_method(name):
    method = parse_method(name)
    assert parse_method(method.name) == method
    precision = Precision(name)
    assert precision.method == method
    assert precision.name == method.name
    assert Precision.parse(precision.name) == precision == Precision.of(method)
    assert precision.activations == (method.activation_bits != 16)


def test_options_in_names():
    assert parse_method("rtn_w4a8_g64") == RoundToNearest(4, 8, group_size=64)
    assert parse_method("smoothquant_w8a8_alpha0.8") == SmoothQuant(8, 8, alpha=0.8)
    method = DuQuant(4, 4, block=16, permute=False, row_rotation=True, percentile=99.9, smooth=0.15)
    assert method.name == "duquant_w4a4_b16_noperm_rowrot_pct99.9_ls0.15"
    assert parse_method("duquant_w4a8_all").every_layer
    assert DuQuant().name == "duquant_w4a8"  # defaults are left out
    assert parse_method("int4") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("duquant", "does not say the bits: write duquant_w4a8"),
        ("rtn_w4", "does not say the bits"),
        ("rtn_w4a8_b16", "is no option of rtn: there are g64, clip, all"),
        ("rtn_w9a8", "2 to 8"),
        ("rtn_w16a16", "quantizes nothing"),
        ("duquant_w4a8_pct10", "between 50 and 100"),
        ("dukwant_w4a8", "did you mean duquant_w4a8"),
    ],
)
def test_wrong_names(name, message):
    with pytest.raises(UserError, match=message):
        Precision(name)


PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar

from headless_eval.quant.methods import Method


@dataclass(frozen=True)
class Flip(Method):
    kind: ClassVar[str] = "flip"
    examples: ClassVar[tuple[str, ...]] = ("flip_w4a8",)

    def solve(self, weight, bits, inputs):
        from headless_eval.quant.bases import Basis
        from headless_eval.quant.solve import quantized_linear

        basis = Basis(divide=weight.new_full((weight.shape[1],), -1.0))
        return quantized_linear(basis.of_weight(weight), bits, basis)
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes a package whose entry point registers a method, as pip installs one."""

    def install(module, text, point):
        folder = tmp_path / f"{module}-1.0.dist-info"
        folder.mkdir()
        (tmp_path / f"{module}.py").write_text(text)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[headless_eval.methods]\n{point}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(methods, "METHODS", Registry("method", "headless_eval.quant.methods"))
        for built_in in (DuQuant, RoundToNearest, SmoothQuant):  # their modules have been imported already
            methods.METHODS.add(built_in.kind, built_in)
        monkeypatch.setattr(catalogue, "METHODS", methods.METHODS)
        parse_method.cache_clear()

    yield install
    parse_method.cache_clear()


def test_a_method_of_another_package(installed, capsys):
    installed("flipping", PLUGIN, "flip = flipping:Flip")
    model = ToyStack()
    weight = model.blocks[0].up.weight.clone()
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(0))
    with quantize_(model, Precision("rtn_w4a8")):
        expected = model.blocks[0].up(x)
    with quantize_(model, Precision("flip_w4a8")) as handle:
        assert relative(model.blocks[0].up.weight, -weight) < 0.2
        assert torch.equal(model.blocks[0].up(x), expected)
        assert handle.precision.name == "flip_w4a8"
    assert methods.METHODS.origin("flip") == "flipping"
    catalogue.print_catalogue(ListConfig())
    assert "flip_w4a8[_all]" in capsys.readouterr().out
    with pytest.raises(UserError, match="did you mean flip_w4a8"):
        Precision("fllip_w4a8")


def test_a_method_that_cannot_be_imported_names_its_package(installed):
    installed("breaking", "import a_module_that_is_not_there", "broken = breaking:Broken")
    with pytest.raises(UserError, match="'broken' of the package breaking cannot be loaded"):
        Precision("broken_w4a8")
    assert Precision("rtn_w4a8").method == RoundToNearest()


def test_a_method_has_to_say_how_a_layer_is_solved():
    with pytest.raises(NotImplementedError, match="does not say how a layer is solved"):
        Method(8, 8).solve(torch.ones(2, 2), Bits(8, 8), None)


def test_methods_import_no_torch():
    code = (
        "import sys; from headless_eval.quant.methods import METHODS; list(METHODS.items()); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
