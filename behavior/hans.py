"""Token-aligned pairs of the core contrast from the rows of HANS.

HANS has no quads: every row has full word overlap. But for some rows the counterfactual is
certain, and it has as many words (kinds of pair, clean first; clean is entailed, corrupted not):

1. *swapped hypothesis*, in the file: one premise, two hypotheses of the same words in another
   order (a passive with both readings);
2. *one premise word*, in the file: one hypothesis, two premises that differ in one word
   (`Definitely` against `Probably`, `learned that` against `believed that`);
3. *derived role swap*: `The X V the Y` becomes `The Y V the X`. Who did it to whom is said once
   in the premises of the subcases of `ROLE_SWAP_SUBCASES`, so exactly one of the two follows,
   as long as neither noun stands in the premise twice.

The set is McCoy et al. 2019 (https://arxiv.org/abs/1902.01007).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from behavior.examples import Example, Pairs, SourceReport, TextInput

ROLE_SWAP_SUBCASES: frozenset[str] = frozenset(
    {
        "le_passive",
        "le_conjunction",
        "le_relative_clause",
        "le_around_prepositional_phrase",
        "le_around_relative_clause",
        "ln_passive",
    }
)


_HYPOTHESIS = re.compile(r"The (\S+) (\S+) the ([^\s.]+)(\s*\.?)")


@dataclass(frozen=True, slots=True)
class _Pair:
    clean: TextInput
    corrupted: TextInput
    rows: tuple[str, ...]
    template: str


def hans_pairs(examples: Sequence[Example]) -> tuple[Pairs, SourceReport]:
    """Pairs of the core contrast, each once, and a report of the rows that are in none.

    The unit is the entailed row of the file, or the row a pair was derived from; the template is
    that row's.
    """
    dropped: defaultdict[str, set[str]] = defaultdict(set)
    found = [
        *_in_file(examples, _swap_keys, dropped),
        *_in_file(examples, _premise_keys, dropped),
        *_derived(examples, dropped),
    ]
    covered = {row for pair in found for row in pair.rows}
    reasons = {why: rows - covered for why, rows in dropped.items()}
    rest = {example.id for example in examples}.difference(covered, *reasons.values())
    reasons["without a certain aligned counterfactual"] = rest
    distinct: dict[tuple[TextInput, TextInput], _Pair] = {}
    for pair in found:
        distinct.setdefault((pair.clean, pair.corrupted), pair)
    counts = {f"rows {why}": len(rows) for why, rows in reasons.items() if rows}
    return _gather(list(distinct.values())), SourceReport(len(distinct), counts)


def _in_file(
    examples: Iterable[Example],
    keys: Callable[[Example], Iterator[tuple[str, ...]]],
    dropped: defaultdict[str, set[str]],
) -> Iterator[_Pair]:
    """Rows that share a key and have opposite labels, each row in one pair at most."""
    groups: defaultdict[tuple[str, ...], list[Example]] = defaultdict(list)
    for example in examples:
        for key in keys(example):
            groups[key].append(example)
    used: set[str] = set()
    for group in groups.values():
        entailed = [example for example in group if example.aligned and example.id not in used]
        other = [example for example in group if not example.aligned and example.id not in used]
        if entailed and other:
            dropped["whose partner is in another pair"] |= {example.id for example in group}
        for clean, corrupted in zip(entailed, other, strict=False):
            if clean.input != corrupted.input:
                used |= {clean.id, corrupted.id}
                rows = (clean.id, corrupted.id)
                yield _Pair(clean.input, corrupted.input, rows, clean.template)


def _swap_keys(example: Example) -> Iterator[tuple[str, ...]]:
    words = sorted(str(example.input.hypothesis).casefold().split())
    yield (example.input.premise, *words)


def _premise_keys(example: Example) -> Iterator[tuple[str, ...]]:
    words = example.input.premise.split()
    for i in range(len(words)):
        yield (str(example.input.hypothesis), " ".join((*words[:i], "_", *words[i + 1 :])))


def _derived(examples: Iterable[Example], dropped: defaultdict[str, set[str]]) -> Iterator[_Pair]:
    for example in examples:
        if example.template.partition(":")[0] not in ROLE_SWAP_SUBCASES:
            continue
        match = _HYPOTHESIS.fullmatch(str(example.input.hypothesis))
        if match is None:
            dropped["whose hypothesis is not 'The X V the Y'"].add(example.id)
            continue
        subject, verb, thing, end = match.groups()
        words = example.input.premise.rstrip(" .").split()
        if words.count(subject) != 1 or words.count(thing) != 1:
            dropped["with a noun of the hypothesis not once in the premise"].add(example.id)
            continue
        swapped = TextInput(example.input.premise, f"The {thing} {verb} the {subject}{end}")
        clean, corrupted = example.input, swapped
        if not example.aligned:
            clean, corrupted = corrupted, clean
        yield _Pair(clean, corrupted, (example.id,), example.template)


def _gather(pairs: Sequence[_Pair]) -> Pairs:
    return Pairs(
        contrast="core",
        clean=tuple(pair.clean for pair in pairs),
        corrupted=tuple(pair.corrupted for pair in pairs),
        labels=("entailment",) * len(pairs),
        foils=("non-entailment",) * len(pairs),
        units=tuple(pair.rows[0] for pair in pairs),
        templates=tuple(pair.template for pair in pairs),
        steps=("",) * len(pairs),
    )
