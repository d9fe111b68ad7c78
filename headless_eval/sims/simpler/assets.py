"""Where the data files are: SimplerEnv's own, or a folder of them with stand-ins for what is missing."""

import hashlib
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from headless_eval.errors import UserError

_HELP = "name a clone of ManiSkill2_real2sim, or a folder of the layout in docs/simpler.md"
_PHOTOGRAPHS = "real_inpainting"
_ROBOTS = {
    "widowx": "robots/widowx_description/wx250s.urdf",
    "google": "robots/googlerobot_description/google_robot_meta_sim_fix_wheel_fix_fingertip.urdf",
}
# Files that a folder with stand-ins may lack, and what is taken for them: the photograph from the next place.
_NEAREST = {f"{_PHOTOGRAPHS}/open_drawer_c2.png": f"{_PHOTOGRAPHS}/open_drawer_c1.png"}
_SURFACES = (".dae", ".glb")


class Assets:
    """A folder of data files.

    It has one of two layouts: ``custom/``, ``real_inpainting/``, ``robots/`` and, for what is not there, ``standins/``;
    or that of a clone of ManiSkill2_real2sim.

    Args:
        folder: where they are.

    Raises:
        UserError: the folder does not exist, or it holds no data files of SimplerEnv.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"the SimplerEnv assets {folder} do not exist: {_HELP}")
        self.folder = folder.resolve()
        clone = self.folder / "data" / "custom"
        self._data = clone.parent if clone.is_dir() else self.folder
        self._robots = (
            self.folder / "mani_skill2_real2sim" / "assets" / "descriptions"
            if clone.is_dir()
            else self.folder / "robots"
        )
        for part in ("custom", _PHOTOGRAPHS):
            if not (self._data / part).is_dir():
                raise UserError(f"{folder} holds no SimplerEnv assets: {part}/ is missing; {_HELP}")
        if not self._robots.is_dir():
            raise UserError(f"{folder} holds no SimplerEnv assets: {self._robots.name}/ is missing; {_HELP}")

    def path(self, name: str) -> Path:
        """Return a file by its name in the first layout.

        Raises:
            UserError: the file is missing.
        """
        found = self._find(name)
        if found is None:
            raise UserError(f"the SimplerEnv assets in {self.folder} lack {name}: {_HELP}")
        return found

    def photograph(self, name: str) -> Path:
        """Return the photograph behind a scene.

        Raises:
            UserError: the file and its stand-in are missing.
        """
        wanted = f"{_PHOTOGRAPHS}/{name}.png"
        return self._find(wanted) or self.path(_NEAREST.get(wanted, wanted))

    def robot(self, colouring: str | None) -> Path:
        """Return a robot's description: Google's in a colouring, or the WidowX's for None.

        Raises:
            UserError: the file is missing.
        """
        if colouring is None:
            return self.path(_ROBOTS["widowx"])
        name = _ROBOTS["google"]
        return self.path(name.removesuffix(".urdf") + f"_{colouring}.urdf" if colouring else name)

    def collision(self, model: str) -> Path:
        """Return the mesh that a model collides with.

        Raises:
            UserError: the file is missing.
        """
        return self.path(f"custom/models/{model}/collision.obj")

    def surface(self, model: str) -> Path:
        """Return the textured mesh of a model, a stand-in where the original is missing.

        Raises:
            UserError: there is neither.
        """
        for folder in (f"custom/models/{model}", f"standins/{model}"):
            for suffix in _SURFACES:
                found = self._find(f"{folder}/textured{suffix}")
                if found is not None:
                    return found
        raise UserError(f"the SimplerEnv assets in {self.folder} lack the textured mesh of {model}: {_HELP}")

    def stage(self, name: str) -> Path:
        """Return the mesh of a room, a stand-in where the original is missing.

        Raises:
            UserError: there is neither.
        """
        original = self._data / "hab2_bench_assets" / "stages" / f"{name}.glb"
        return original if original.is_file() else self.path(f"standins/{name}.glb")

    @cached_property
    def standins(self) -> tuple[str, ...]:
        """The files that replace missing originals."""
        folder = self.folder / "standins"
        found = [str(one.relative_to(folder)) for one in folder.rglob("*.glb")] if folder.is_dir() else []
        found += [f"{near} for {name}" for name, near in _NEAREST.items() if self._find(name) is None]
        return tuple(sorted(found))

    @cached_property
    def sha256(self) -> str:
        """A hash over names and contents of all data files."""
        total = hashlib.sha256()
        for name, path in self._files():
            total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return total.hexdigest()

    def _files(self) -> Iterator[tuple[str, Path]]:
        places = {
            "custom": self._data / "custom",
            _PHOTOGRAPHS: self._data / _PHOTOGRAPHS,
            "robots": self._robots,
            "standins": self.folder / "standins",
        }
        for place, folder in places.items():
            for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
                # SAPIEN 2 leaves caches beside meshes.
                if path.is_file() and not path.name.endswith((".nonconvex.stl", ".convex.stl")):
                    yield f"{place}/{path.relative_to(folder)}", path

    def _find(self, name: str) -> Path | None:
        top, _, rest = name.partition("/")
        path = (
            self._robots / rest
            if top == "robots"
            else self.folder / name
            if top == "standins"
            else self._data / name
        )
        return path if path.is_file() else None


def chosen_assets(flag: Path | None) -> Assets:
    """Return the assets that the user named, by flag or by ``$SIMPLER_ASSETS``.

    Raises:
        UserError: the user named none, or what was named is not there.
    """
    variable = os.environ.get("SIMPLER_ASSETS")
    if flag is None and not variable:
        raise UserError(
            f"the SimplerEnv suites need their assets: set --simpler-assets or SIMPLER_ASSETS; {_HELP}"
        )
    return Assets(flag if flag is not None else Path(str(variable)))
