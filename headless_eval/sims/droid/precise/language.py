"""What is said to a policy in the suite ``droid_precise``: sentences of training, and those held out for evaluation.

The two sets have no sentence in common. Held-out sentences come in five levels: 1, words of training in another
sentence; 2, a word or two that training replaces by others; 3, another structure; 4, the wish behind the request;
5, a far paraphrase.
"""

import itertools
import re
from dataclasses import dataclass

COLOURS = ("red", "green", "blue", "yellow")


def expand(template: str) -> tuple[str, ...]:
    """Return every sentence of a template: ``(put|set) it down( here|)`` has four."""
    parts = [part.split("|") for part in re.split(r"[()]", template)]
    return tuple("".join(choice) for choice in itertools.product(*parts))


@dataclass(frozen=True)
class Wording:
    """The sentences that ask for one thing.

    Args:
        training: the sentences of training, each once; the first is the task's own instruction.
        held_out: the sentences of each level from 1 to 5, none of which is in ``training``.
    """

    training: tuple[str, ...]
    held_out: tuple[tuple[str, ...], ...]

    @property
    def instruction(self) -> str:
        """Return the task's own instruction."""
        return self.training[0]


def _wording(instruction: str, templates: tuple[str, ...], *held_out: tuple[str, ...]) -> Wording:
    sentences = [instruction, *(sentence for template in templates for sentence in expand(template))]
    return Wording(tuple(dict.fromkeys(sentences)), held_out)


_PLACE = _wording(
    "put the cube on the mark",
    (
        "(|please |now )(put|place|set) the (cube|block) on the (mark|marked spot|target|square)",
        "(put|place) the cube (down on|exactly on|right on) the (mark|marked spot)",
        "(pick up|take|grab) the (cube|block) and (put|place|set) it on the (mark|target|marked spot)",
        "(move|bring) the (cube|block) (to|onto) the (mark|marked spot|target)",
        "(can you|could you) (put|place) the (cube|block) on the (mark|square)",
        "the (cube|block) (goes|belongs) on the (mark|target)",
    ),
    ("now place the cube exactly on the target", "please move the block to the square"),
    ("lay the cube on the mark", "position the cube on the marked spot"),
    ("on the mark is where you should put the cube", "the mark needs the cube on top of it"),
    ("i want the cube to end up on the mark", "the mark is empty, cover it with the cube"),
    (
        "get that small object to the place drawn on the table",
        "align the object with the outline on the table",
    ),
)
_STACK = _wording(
    "stack the cube on the green block",
    (
        "(|please |now )(stack|put|place|set) the (cube|red cube|red block) on the green (block|base|one)",
        "(stack|put|place) the (cube|red cube) (on top of|onto) the (block|green block|base)",
        "(pick up|take|grab) the (cube|red cube|red block) and (put|stack|place|set) it on the green (block|base)",
        "(make|build) a (stack|tower) (of the blocks|with red on top of green|of cube and block)",
        "(move|bring) the (cube|red block) (on top of|onto) the green (block|base)",
        "(can you|could you) (stack|put) the (cube|red cube) on the green (block|one)",
        "the (cube|red cube) (goes|belongs) on top of the green (block|base)",
    ),
    ("please put the red block on top of the green one", "now bring the red cube onto the green base"),
    ("pile the cube on the green block", "lay the red cube on the green block"),
    ("on top of the green block is where the cube should be", "green below and red above, stack them"),
    ("i want a tower of two blocks, with the red one above", "the green block should carry the red one"),
    ("arrange the objects so that one stands on the other", "use both pieces to get as high as you can"),
)
_CARRY = _wording(
    "carry the tray to the yellow zone without spilling",
    (
        "(|please |now )(carry|bring|move|take) the tray to the (yellow zone|zone|yellow circle|yellow spot)",
        "(carry|bring|move) the (full|filled) tray to the (yellow zone|zone) (without spilling|carefully|slowly)",
        "(carry|move) the tray (level|carefully|slowly) to the (zone|yellow zone|yellow circle)",
        "(pick up|take|lift|grab) the tray and (put|set|place) it (down |)on the yellow (zone|circle|spot)",
        "(put|place|set) the tray (on|in) the (zone|yellow zone|yellow circle)",
        "(can you|could you) (carry|bring|move) the tray to the (zone|yellow zone)",
        "the tray (goes|belongs) (in|on) the (zone|yellow zone)",
        "do not spill (|anything )and (carry|bring) the tray to the (zone|yellow zone)",
    ),
    ("please move the full tray to the yellow spot", "now set the tray carefully on the zone"),
    ("transport the tray to the yellow zone without spilling", "deliver the tray to the yellow zone"),
    ("to the yellow zone is where the tray should go", "the yellow circle needs the tray on it"),
    (
        "i want the tray in the zone, with every drop still in it",
        "keep the water in the tray while you bring it over",
    ),
    (
        "serve what is there, a waiter would keep it level",
        "everything in that plate has to get to the other place",
    ),
)
_INSERT = _wording(
    "insert the peg into the hole",
    (
        "(|please |now )(put|insert|push|place) the (peg|pin) (in|into) the hole",
        "(pick up|take|grab) the (peg|pin) and (put|insert|push) it (in|into) the hole",
        "(insert|push|fit) the (peg|pin) (into|in) the (hole|socket|hole in the block)",
        "(move|bring) the (peg|pin) (to|into) the (hole|socket)",
        "(can you|could you) (put|insert) the (peg|pin) (in|into) the (hole|socket)",
        "the (peg|pin) (goes|belongs) in the (hole|socket)",
    ),
    ("please push the pin into the socket now", "now take the pin and put it in the socket"),
    ("stick the peg in the hole", "slide the peg into the hole"),
    ("in the hole is where the peg should go", "the hole needs the peg in it"),
    ("i want the peg to be inside the hole", "the hole is empty, fill it with the peg"),
    ("plug the opening with the fitting part", "let the long piece disappear where it fits"),
)
_THREAD = _wording(
    "put the ring over the post",
    (
        "(|please |now )(put|place|thread|drop) the ring (over|on|onto) the (post|pole|rod)",
        "(pick up|take|grab) the ring and (put|place|thread|drop) it (over|on|onto) the (post|pole)",
        "(move|bring) the ring (over|onto) the (post|pole|rod)",
        "(thread|slide) the ring (over|onto) the (post|rod)",
        "(can you|could you) (put|thread) the ring (over|on) the (post|pole)",
        "the ring (goes|belongs) (over|on) the (post|pole)",
    ),
    ("please drop the ring onto the pole now", "now take the ring and thread it over the pole"),
    ("hang the ring on the post", "lower the ring over the post"),
    ("over the post is where the ring should go", "the post needs the ring around it"),
    ("i want the post to stand inside the ring", "the post is bare, give it its ring"),
    ("toss the hoop like in the game", "let the round thing go around the upright thing"),
)


def _press(colour: str) -> Wording:
    others = "|".join(other for other in COLOURS if other != colour)
    templates = (
        f"(|please |now )(press|push|touch|hit|tap) the {colour} (button|one|key)",
        f"(press|push) (down |)(on |)the (button that is {colour}|{colour} button)",
        f"(press|push|touch|hit) {colour}",
        f"(can you|could you|you should) (press|push|touch|hit) the {colour} (button|one)",
        f"(go to|find|move to) the {colour} (button|one) and (press|push|touch) it",
        f"(press|touch) the {colour} (button|one), not the ({others}) one",
        f"the {colour} (button|one|key), (please|press it|push it)",
        f"of the (four |)buttons (press|push) the {colour} one",
        f"(the button to press is|press the one that is) {colour}",
        f"{colour} (is the button to press|is the one to press|please|button)",
    )
    thing = {"red": "a tomato", "green": "grass", "blue": "the sea", "yellow": "a lemon"}[colour]
    last = {"red": "stop", "green": "go", "blue": "cold water", "yellow": "a taxi"}[colour]
    return _wording(
        f"press the {colour} button",
        templates,
        (f"now hit the {colour} button please", f"could you tap the {colour} key"),
        (f"poke the {colour} button", f"click on the {colour} button"),
        (f"{colour} is the button i want you to press", f"only the {colour} button has to go down"),
        (f"i need whatever happens when {colour} is pressed", f"ignore every colour but {colour}"),
        (
            f"choose the button with the colour of {thing}",
            f"the colour that stands for {last} is the right one",
        ),
    )


PRESS = {colour: _press(colour) for colour in COLOURS}
"""The wording of the task ``press`` for each of its buttons' colours."""

WORDINGS: dict[str, Wording] = {
    "place": _PLACE,
    "stack": _STACK,
    "carry": _CARRY,
    "insert": _INSERT,
    "thread": _THREAD,
    **{f"press {colour}": wording for colour, wording in PRESS.items()},
}
"""What can be asked for, by family of tasks; the family ``press`` has one entry for each colour."""

PARAPHRASES = {wording.instruction: wording.held_out for wording in WORDINGS.values()}
"""The held-out sentences by instruction, five lists each."""
