"""Factorial quads in real words, made from the role-swap pairs of HANS.

The entailed hypothesis of a role-swap pair (see `behavior.hans`), `The doctor saw the senators`,
and three more, each of as many words:

    A  The doctor saw the senators         the premise's own words, entailed
    N  The physician saw the legislators   another name of both, entailed
    C  The senators saw the doctor         the premise's own words, not entailed
    L  The legislators saw the physician   another name of both, not entailed

Core is who did it to whom; the shortcut is that all words of the hypothesis stand in the premise,
which HANS itself never varies. Nouns without another name that always holds (banker, artist) give
no quad, nor do premises in which the other name would fit a second person as well. The names are
single tokens in the vocabulary of uncased BERT, in singular and plural.
"""

from collections import Counter

from behavior.examples import Pairs, Quad, SourceReport, TextInput

OTHER_NAMES: dict[str, str] = {
    "actor": "performer",
    "author": "writer",
    "doctor": "physician",
    "judge": "magistrate",
    "lawyer": "attorney",
    "manager": "supervisor",
    "professor": "academic",
    "scientist": "researcher",
    "senator": "legislator",
    "student": "pupil",
    "tourist": "traveler",
}
"""Another name for each noun of HANS that has one, in the singular."""

_AMBIGUOUS = (frozenset({"professor", "scientist"}), frozenset({"actor", "artist"}))
"""Nouns of which one's other name fits the other as well."""

_NOUNS = frozenset(OTHER_NAMES).union(*_AMBIGUOUS)


def role_swap_quads(pairs: Pairs[TextInput]) -> tuple[tuple[Quad[TextInput], ...], SourceReport]:
    """A quad from each role-swap pair whose two nouns have another name; the others are counted.

    Args:
        pairs: Of the core contrast, as `behavior.hans.hans_pairs` gives them.
    """
    dropped: Counter[str] = Counter()
    quads: list[Quad[TextInput]] = []
    for i, (clean, corrupted) in enumerate(zip(pairs.clean, pairs.corrupted, strict=True)):
        renamed = _renamed(clean, corrupted)
        if isinstance(renamed, str):
            dropped[f"pairs {renamed}"] += 1
            continue
        quads.append(
            Quad(
                id=f"{pairs.units[i]}.quad",
                A=clean,
                N=renamed[0],
                C=corrupted,
                L=renamed[1],
                label=pairs.labels[i],
                foil=pairs.foils[i],
                template=pairs.templates[i],
            )
        )
    return tuple(quads), SourceReport(len(quads), dict(dropped))


def _renamed(clean: TextInput, corrupted: TextInput) -> tuple[TextInput, TextInput] | str:
    """Both hypotheses with the other names, or why there are none."""
    ours, theirs = str(clean.hypothesis).split(), str(corrupted.hypothesis).split()
    if clean.premise != corrupted.premise or sorted(ours) != sorted(theirs):
        return "that are not one premise with two orders of one hypothesis"
    moved = {a for a, b in zip(ours, theirs, strict=True) if a != b}
    names = {word: name for word in moved if (name := _other_name(word)) is not None}
    if len(moved) != 2 or len(names) != 2:
        return "with a noun that has no other name"
    if _fits_two(moved, clean.premise):
        return "in which the other name fits two people"
    return _rename(clean, names), _rename(corrupted, names)


def _rename(text: TextInput, names: dict[str, str]) -> TextInput:
    words = (names.get(word, word) for word in str(text.hypothesis).split())
    return TextInput(text.premise, " ".join(words))


def _other_name(noun: str) -> str | None:
    singular = _singular(noun)
    name = OTHER_NAMES.get(singular)
    return name if name is None or singular == noun else f"{name}s"


def _fits_two(moved: set[str], premise: str) -> bool:
    people = [_singular(word) for word in premise.rstrip(" .").split()]
    named = {_singular(word) for word in moved}
    twice = any(people.count(noun) > 1 for noun in named)
    return twice or any(both & named and both <= set(people) for both in _AMBIGUOUS)


def _singular(noun: str) -> str:
    return noun.removesuffix("s") if noun.removesuffix("s") in _NOUNS else noun
