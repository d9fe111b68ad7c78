"""The tasks of the suites ``simpler_bridge`` and ``simpler_fractal``; names and step limits are SimplerEnv's."""

from headless_eval.contracts.simulator import Task

CONTROL_HZ = {"simpler_bridge": 5.0, "simpler_fractal": 3.0}


def _tasks(*rows: tuple[str, str, int]) -> tuple[Task, ...]:
    return tuple(
        Task(id=number, key=f"task_{number}", name=name, instruction=instruction, max_steps=max_steps)
        for number, (name, instruction, max_steps) in enumerate(rows)
    )


SIMPLER_BRIDGE = _tasks(
    ("widowx_carrot_on_plate", "put carrot on plate", 60),
    ("widowx_spoon_on_towel", "put the spoon on the towel", 60),
    ("widowx_stack_cube", "stack the green block on the yellow block", 60),
    ("widowx_put_eggplant_in_basket", "put eggplant into yellow basket", 120),
)

# Where an instruction names what the episode draws, "A" and "B" stand for it here; observations have the words.
SIMPLER_FRACTAL = _tasks(
    ("google_robot_pick_horizontal_coke_can", "pick coke can", 80),
    ("google_robot_pick_vertical_coke_can", "pick coke can", 80),
    ("google_robot_pick_standing_coke_can", "pick coke can", 80),
    ("google_robot_move_near_v0", "move A near B", 80),
    ("google_robot_open_drawer", "open A drawer", 113),
    ("google_robot_close_drawer", "close A drawer", 113),
    ("google_robot_place_apple_in_closed_top_drawer", "open top drawer", 200),
)

TASKS = {"simpler_bridge": SIMPLER_BRIDGE, "simpler_fractal": SIMPLER_FRACTAL}
