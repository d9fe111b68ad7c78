"""The instructions of the DROID scenes in other words, graded: five lists for each instruction.

Level 1 changes a word that carries no meaning, level 2 the verb, level 3 the nouns too, level 4 the order and the
register, level 5 describes things instead of naming them, or says more than is asked for. All of them ask for the same.
"""

PARAPHRASES: dict[str, tuple[tuple[str, ...], ...]] = {
    "put the cube in the bowl": (
        ("put the cube into the bowl", "put the cube in a bowl", "please put the cube in the bowl"),
        ("place the cube in the bowl", "move the cube into the bowl", "drop the cube into the bowl"),
        (
            "place the block in the dish",
            "move the puzzle cube into the basin",
            "set the block inside the bowl",
        ),
        (
            "the cube belongs in the bowl",
            "into the bowl with the cube",
            "could you get the cube into the bowl",
        ),
        (
            "the colourful toy should end up inside the round blue thing",
            "take the small six-sided puzzle and leave it in the blue dish, not beside it",
            "tidy up: the twisty puzzle goes where one would serve soup",
        ),
    ),
    "put the can in the mug": (
        ("put the can into the mug", "put the can in a mug", "please put the can in the mug"),
        ("place the can in the mug", "move the can into the mug", "drop the can into the mug"),
        ("place the tin in the cup", "move the tin into the beaker", "set the soda can inside the cup"),
        ("the can belongs in the mug", "into the mug with the can", "could you get the can into the mug"),
        (
            "the blue and yellow drink should end up inside the red thing with a handle",
            "take the small metal cylinder and leave it in the red cup, not beside it",
            "tidy up: the tinned drink goes where one would pour coffee",
        ),
    ),
    "put banana in the bin": (
        ("put the banana in the bin", "put banana into the bin", "please put banana in the bin"),
        ("place banana in the bin", "move the banana into the bin", "drop the banana into the bin"),
        ("place the fruit in the box", "move the fruit into the tray", "set the fruit inside the container"),
        ("the banana belongs in the bin", "into the bin with the banana", "could you bin the banana"),
        (
            "the curved yellow thing should end up inside the grey thing",
            "take the yellow fruit and leave it in the large grey tray, not beside it",
            "tidy up: what monkeys like goes where things are thrown away",
        ),
    ),
}
"""Five lists of paraphrases, from level 1 to 5, by instruction."""
