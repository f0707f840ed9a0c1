"""Classes that are words: the logit of a class is that of the first token of its word."""

from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from behavior.errors import CheckpointError

LabelWords = Mapping[str, str] | Sequence[str]
"""Class name -> word, or the words in the order of the classes."""

_EXAMPLE = "label_words={'entailment': 'yes', 'contradiction': 'no'}"


def resolve_label_words(given: LabelWords | None, classes: Sequence[str]) -> dict[str, str]:
    """Class name -> word, in the order of the logits.

    Args:
        given: What the user says; None for the names of the classes themselves.
        classes: Names in `id2label`. If these are `LABEL_0`, `LABEL_1`, ..., the model has no
            names of its own, and the classes and their order are those of `given`.

    Raises:
        CheckpointError: If a class has no word, a word no class, or there are fewer than two.
    """
    is_unnamed = tuple(classes) == tuple(f"LABEL_{i}" for i in range(len(classes)))
    if given is None:
        if is_unnamed:
            raise CheckpointError(
                "The model's classes have no names, so the words that it answers with are not "
                f"known. Give them, such as {_EXAMPLE}, or name the classes in id2label of "
                "config.json."
            )
        given = classes
    words = _by_class(given, () if is_unnamed else classes)
    if len(words) < 2:
        raise CheckpointError(
            f"label_words has {len(words)} classes, so there is no margin. Expected two or more."
        )
    return words


def label_token_ids(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> tuple[int, ...]:
    """First token of each word, as it stands at the start of an answer.

    Raises:
        CheckpointError: If two words start with the same token, or the tokenizer does not know
            one.
    """
    found: dict[int, str] = {}
    for word in words:
        ids: list[int] = tokenizer(text_target=word, add_special_tokens=False)["input_ids"]
        if not word.strip() or not ids or tokenizer.unk_token_id in ids:
            raise CheckpointError(
                f"The tokenizer does not know the label word {word!r}. Give label_words that the "
                "model was trained to answer with."
            )
        if ids[0] in found:
            raise CheckpointError(
                f"The label words {found[ids[0]]!r} and {word!r} both start with the token "
                f"{tokenizer.convert_ids_to_tokens(ids[0])!r}, so the model's first step cannot "
                "tell them apart. Give label_words that start differently."
            )
        found[ids[0]] = word
    return tuple(found)


def _by_class(given: LabelWords, classes: Sequence[str]) -> dict[str, str]:
    if not isinstance(given, Mapping):
        if isinstance(given, str):
            raise CheckpointError(
                f"label_words is the text {given!r}. Expected {_EXAMPLE}, or a list of words."
            )
        if classes and len(given) != len(classes):
            raise CheckpointError(
                f"label_words has {len(given)} words, but the model has the classes "
                f"{', '.join(classes)}. Give one word for each, in this order."
            )
        return _unique(classes or given, given)
    if not classes:
        return dict(given)
    folded = {name.casefold(): word for name, word in given.items()}
    if set(folded) != {name.casefold() for name in classes} or len(folded) != len(given):
        raise CheckpointError(
            f"label_words names the classes {', '.join(given)}, but the model has "
            f"{', '.join(classes)}. Give one word for each of these."
        )
    return {name: folded[name.casefold()] for name in classes}


def _unique(classes: Sequence[str], words: Sequence[str]) -> dict[str, str]:
    twice = next((name for name in classes if list(classes).count(name) > 1), None)
    if twice is not None:
        raise CheckpointError(f"label_words has {twice!r} twice. Give each class its own word.")
    return dict(zip(classes, words, strict=True))
