"""Prompts: templates that make one text of an input before it is tokenised.

A label-word model reads `mnli premise: {premise} hypothesis: {hypothesis}`, and not two texts.
"""

from dataclasses import dataclass
from string import Formatter

from behavior.errors import CheckpointError, DataError
from behavior.inputs import TextInput

_FIELDS = ("text", "premise", "hypothesis")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template with the fields `{text}` or `{premise}`, and `{hypothesis}`.

    Attributes:
        template: As it was written; `{{` and `}}` stand for braces.
        pieces: Its literal texts, each with the field that follows; None after the last.
    """

    template: str
    pieces: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, template: str) -> "Prompt":
        """The prompt that a template describes.

        Raises:
            CheckpointError: If it has no field, unknown ones, or braces that do not match.
        """
        try:
            parsed = list(Formatter().parse(template))
        except ValueError as error:
            raise _bad(template, f"cannot be read ({error})") from error
        for _, name, style, conversion in parsed:
            if name is not None and (name not in _FIELDS or style or conversion):
                written = name + (f"!{conversion}" if conversion else "")
                written += f":{style}" if style else ""
                raise _bad(template, f"has the field {{{written}}}")
        if all(name is None for _, name, _, _ in parsed):
            raise _bad(template, "has no field")
        return cls(template, tuple((literal, name) for literal, name, _, _ in parsed))

    @property
    def asks_for_hypothesis(self) -> bool:
        """Whether inputs need a hypothesis."""
        return any(name == "hypothesis" for _, name in self.pieces)

    def fill(self, given: TextInput) -> tuple[str, int | None]:
        """The text of one input, and the character at which its hypothesis starts, if it has one.

        Raises:
            DataError: If the input lacks a hypothesis that the prompt asks for, or has one for
                which there is no place.
        """
        if (given.hypothesis is not None) != self.asks_for_hypothesis:
            told = "asks for a hypothesis, but an input has none"
            if not self.asks_for_hypothesis:
                told = "has no place for the hypothesis that an input has"
            raise DataError(
                f"The prompt {self.template!r} {told}. Change the prompt or the inputs."
            )
        text, start = "", None
        for literal, name in self.pieces:
            text += literal
            if name == "hypothesis" and start is None:
                start = len(text)
            if name is not None:
                text += (given.hypothesis or "") if name == "hypothesis" else given.text
        return text, start


def _bad(template: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"The prompt {template!r} {what}. Expected a text with {{text}}, or with {{premise}} and "
        "{hypothesis}; double a brace that is meant as one."
    )
