"""What plants read: words of a core feature, of a shortcut, and others.

Each core word and each shortcut word has one of two classes. An input has three words of each kind
in random places; its three core words are of one class, and so are its three shortcut words. The
core contrast exchanges the core words for words of the other class, the shortcut contrast the
shortcut words. Nothing else changes, and all inputs have the same length.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor

from behavior.examples import Contrast
from circuits.plants.blocks import Blocks, generator, random_normal
from circuits.plants.recipe import CLASS_WORDS, PER_KIND, Recipe

READS_HERE = "[CLS]"
"""The token that the classifier reads."""
WORDS = tuple(f"{kind}{i}" for kind in ("core", "cue", "other") for i in range(CLASS_WORDS))

_KIND: dict[Contrast, int] = {"core": 0, "shortcut": 1}
_PLACE = 0.7


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Vectors of words and places, in lengths of a word.

    Attributes:
        words: [word] in the order of `WORDS`.
        reading: Of the token that the classifier reads.
        places: [pos] of every place in an input, the reading token's included.
    """

    words: Float[Tensor, "word d_model"]
    reading: Float[Tensor, " d_model"]
    places: Float[Tensor, "pos d_model"]


def make_vocabulary(recipe: Recipe, blocks: Blocks, seed: int) -> Vocabulary:
    """Core and shortcut words are half class, half their own; all are equally long."""
    width = recipe.embedding_block
    other = _units(seed, "other", CLASS_WORDS + 1, width)
    places = _PLACE * _units(seed, "places", recipe.n_words + 1, width)
    words = [_class_words(seed, kind, width) @ blocks[f"input:{kind}"].T for kind in _KIND]
    place = blocks["input:place"].T
    words.append(other[:-1] @ place)
    return Vocabulary(torch.cat(words), other[-1] @ place, places @ place)


def draw_words(n: int, draws: torch.Generator) -> Int[Tensor, "input word"]:
    """Random inputs: positions of their words among `WORDS`."""
    classes = torch.randint(2, (n, 2), generator=draws)
    chosen = torch.randint(CLASS_WORDS // 2, (n, 3, PER_KIND), generator=draws)
    for kind in range(2):
        chosen[:, kind] += CLASS_WORDS // 2 * classes[:, kind, None]
    chosen[:, 2] = torch.randint(CLASS_WORDS, (n, PER_KIND), generator=draws)
    chosen += CLASS_WORDS * torch.arange(3)[:, None]
    places = torch.rand(n, 3 * PER_KIND, generator=draws).argsort(dim=1)
    return chosen.flatten(start_dim=1).gather(1, places)


def exchange(
    words: Int[Tensor, "input word"], contrast: Contrast, draws: torch.Generator
) -> Int[Tensor, "input word"]:
    """The inputs with other words of the other class, where the contrast says so."""
    first, half = CLASS_WORDS * _KIND[contrast], CLASS_WORDS // 2
    inside = words - first
    theirs = torch.randint(half, words.shape, generator=draws)
    theirs = first + torch.where(inside < half, theirs + half, theirs)
    return torch.where((inside >= 0) & (inside < CLASS_WORDS), theirs, words)


def spell(words: Int[Tensor, " word"]) -> str:
    """An input as text."""
    return " ".join(WORDS[i] for i in words.tolist())


def seeded(seed: int, name: str) -> torch.Generator:
    """Draws of inputs."""
    return generator(seed, f"inputs {name}")


def _class_words(seed: int, kind: str, width: int) -> Float[Tensor, "word block"]:
    own = torch.cat(
        [
            torch.zeros(CLASS_WORDS, 1, dtype=torch.float64),
            _units(seed, kind, CLASS_WORDS, width - 1),
        ],
        dim=1,
    )
    own[: CLASS_WORDS // 2, 0] = 1
    own[CLASS_WORDS // 2 :, 0] = -1
    return own / sqrt(2)


def _units(seed: int, name: str, n: int, width: int) -> Float[Tensor, "n block"]:
    found = random_normal(seed, f"words {name}", (n, width))
    return found / found.norm(dim=1, keepdim=True)
