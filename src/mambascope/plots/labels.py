"""Tokens as labels that can be read: spaces and control characters made visible, nothing endless; and models by name."""

from mambascope.results.wording import model_in_words

SPACE = "\u00b7"
LONGEST, LONGEST_MODEL = 18, 48


def token_label(token: str) -> str:
    """`" France"` as `·France`, a line break as backslash n; long tokens are cut with an ellipsis."""
    shown = "".join(_visible(character) for character in token)
    return shortened(shown, LONGEST) or "''"


def model_label(model: str) -> str:
    """A model's name for titles and legends; of a path the last part, and of a long name its two ends."""
    return shortened(model_in_words(model), LONGEST_MODEL)


def shortened(text: str, longest: int) -> str:
    """The text, or its beginning and its end around an ellipsis."""
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}\u2026{text[-end:]}"


def _visible(character: str) -> str:
    if character == " ":
        return SPACE
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
