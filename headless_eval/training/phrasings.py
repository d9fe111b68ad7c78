"""Sentences that training draws from: a task's instruction, its other wordings, and wordings with a stray word.

Stray words are common English ones of the domain. So the tokenizer knows them, and the policy learns that a word it has
no use for changes nothing.
"""

from collections.abc import Sequence

import numpy as np

CANONICAL, REWORDED = 0.25, 0.5
"""Shares of the instruction itself and of other wordings; the rest are wordings with a stray word."""

AT_FIRST = 0.4
"""Share of the stray words that begin their sentence."""

_COMMON = """
a about above across after again against ahead align all along already also always an and another any apart are
area arm around arrange as aside at away back backward bare be because become before behind below beneath beside
best between beyond big both bottom bowl box bring but by can careful carefully carry center centre change choose
circle clean clear click close colour cover deliver device direction do does done down drag draw drop each easy
edge empty end enough entire even every everything exactly far fast few fill final find finger firmly first fit
fitting flat for forward free from front full game gently get give go goal grasp grip gripper ground hand handle
hang happens has have hear help here high hold hoop how i if ignore immediately in inside instead into is item its job
just keep kindly know large last lay lead leave left let lift lie like little long look lower make many may
me middle mind more move much must my name near need needs new next nice nothing object of off okay only open
opening opposite or order other our out outline outside over own part pass peg perform pick piece pile place plate
plug point poke position possible precisely pressed properly pull quickly quietly reach ready release remain remove
return right robot rotate round safely same see select send serve shape should show side simple single slide slow
slowly small so solve some soon space spill spilled spot stand stands start stay steady step stick stop straight
such sure surface swing table take task than thank that their them then there these thing this those through time
tip to together too top toss toward towards transport try turn under until up upright use very wait want way we
well what whatever when where which while will wish with without work would yes you your
"""
WORDS = tuple(_COMMON.split())


def phrasings(
    instruction: str, rewordings: Sequence[str], number: int, generator: np.random.Generator
) -> tuple[str, ...]:
    """Return ``number`` sentences that ask for the same; one drawn evenly is the instruction itself in a quarter.

    Args:
        instruction: the task's own.
        rewordings: other sentences that mean the same, the instruction may be among them.
        number: of sentences; repeated where there are fewer different ones.
        generator: chooses the rewordings, and the stray words and their places.
    """
    canonical, reworded = round(CANONICAL * number), round(REWORDED * number)
    strays = number - canonical - reworded
    with_stray = []
    drawn = _draw(rewordings, strays, generator), _draw(WORDS, strays, generator)
    for sentence, word in zip(*drawn, strict=True):
        parts = sentence.split(" ")
        # Often the first word, which has other tokens than the same word after a space.
        place = 0 if generator.random() < AT_FIRST else int(generator.integers(1, len(parts) + 1))
        parts.insert(place, word)
        with_stray.append(" ".join(parts))
    return (*[instruction] * canonical, *_draw(rewordings, reworded, generator), *with_stray)


def _draw(sentences: Sequence[str], number: int, generator: np.random.Generator) -> list[str]:
    """Return so many of the sentences, each as often as any other, give or take one."""
    order = [
        index for _ in range(number // len(sentences) + 1) for index in generator.permutation(len(sentences))
    ]
    return [sentences[index] for index in order[:number]]
