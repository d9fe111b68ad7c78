"""Which bodies touch."""

import mujoco
import pytest

from headless_eval.sims.droid.mujoco.contacts import Contacts
from headless_eval.sims.droid.tabletop import ELSE, ROBOT

MODEL = """
<mujoco><worldbody>
  <geom name="table" type="box" size="1 1 0.1" pos="0 0 -0.1"/>
  <body name="panda_link0" pos="0 0 0.5"><body name="hand"><joint type="slide" axis="0 0 1"/>
    <geom type="sphere" size="0.05"/></body></body>
  <body name="cube" pos="0 0 0.049"><freejoint/><geom type="box" size="0.05 0.05 0.05"/></body>
  <body name="bowl" pos="0.5 0 0.049"><freejoint/><geom type="box" size="0.05 0.05 0.05"/></body>
</worldbody></mujoco>
"""
CUBE, BOWL = range(2)


@pytest.mark.parametrize(
    ("cube", "hand", "expected"),
    [
        ((0, 0, 0.049), 0.0, {(CUBE, ELSE), (BOWL, ELSE)}),
        ((0.5, 0, 0.147), 0.0, {(CUBE, BOWL), (BOWL, ELSE)}),
        ((0, 0, 0.049), -0.36, {(CUBE, ELSE), (BOWL, ELSE), (CUBE, ROBOT)}),
        ((0, 0, 0.8), -0.46, {(BOWL, ELSE), (ELSE, ROBOT)}),
    ],
    ids=["apart", "on the bowl", "held down", "hand on the table"],
)
def test_what_touches_is_told(cube, hand, expected):
    model = mujoco.MjModel.from_xml_string(MODEL)
    data = mujoco.MjData(model)
    data.qpos[0], data.qpos[1:4] = hand, cube
    mujoco.mj_forward(model, data)
    found = Contacts(model, ["cube", "bowl"]).of(data)
    assert {tuple(sorted(map(int, pair))) for pair in found} == {tuple(sorted(pair)) for pair in expected}


def test_without_contacts_nothing_touches():
    model = mujoco.MjModel.from_xml_string(MODEL)
    assert Contacts(model, ["cube", "bowl"]).of(mujoco.MjData(model)).shape == (0, 2)
