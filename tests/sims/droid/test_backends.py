"""The start of the suites' simulators, as far as it goes without them."""

import pytest

from headless_eval.errors import UserError
from headless_eval.sims.droid.suites import DroidSettings
from headless_eval.sims.registry import find_suite


def test_the_published_scenes_are_no_graded_tasks(tmp_path):
    settings = DroidSettings(sim="isaaclab", isaac_assets=tmp_path)
    with pytest.raises(UserError, match="--isaac-assets has scenes of the suite droid alone"):
        find_suite("droid_precise").make(settings)
