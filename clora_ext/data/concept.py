"""What is to be learned: a trigger token and a class noun, given or read from a folder's name."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from clora_ext.data.layout import find_layout, folder_name
from clora_ext.data.speaking import speaking_token
from clora_ext.errors import UsageError
from clora_ext.formats.text import escaped, is_line, quoted

__all__ = ["RARE_TOKENS", "Concept", "name_concept"]

# The paper's ten first, in its order; the rest are single entries of CLIP's vocabulary that mean little.
RARE_TOKENS = (
    *("sks", "zwz", "sbu", "uwu", "pdw", "twt", "zsn", "ofl", "psq", "cws"),
    *("vlm", "xqj", "bzk", "kvf", "hjt", "wgq", "nrx", "lpf", "dvk", "jzm"),
    *("qtb", "fgx", "mwv", "rkz", "tqs", "yhn", "gxl", "ckp", "bvw", "xzd"),
    *("hqm", "pvr", "wjn", "kzt", "nfb", "dlq", "rxs", "jvg", "zph", "qwk"),
)
_CUSTOM = "ohwx"  # what tutorials call people by
LONGEST = 75
LONGEST_TOKEN_BY_LOOKS = 4
NOT_THE_SUBJECT = frozenset({"images", "pictures", "photos", "pics", "imgs", "dataset", "training"})
NOT_THE_SUBJECT |= {"image", "picture", "photo", "pic", "img", "data", "train"}


@dataclass(frozen=True, slots=True)
class Concept:
    """What is to be learned, in words.

    Attributes:
        token: one rare word, its name in prompts.
        class_name: a noun for what kind of thing it is, one or more words.
        token_from: where the token comes from, for people.

    Raises:
        UsageError: one of them is empty, too long, or contains what captions cannot contain.

    >>> Concept("sks", "dog").trigger
    'sks dog'
    """

    token: str
    class_name: str
    token_from: str = field(default="as given", compare=False)

    def __post_init__(self) -> None:
        refuse_text(self.token, "token", "--token sks")
        refuse_text(self.class_name, "class name", "--class-name dog")
        if len(self.token.split()) != 1:
            raise UsageError(f"the token {self.token!r} has several words", fix="give one word: --token sks")

    @property
    def trigger(self) -> str:
        """The words that call it up in a prompt."""
        return f"{self.token} {self.class_name}"


def refuse_text(text: str, what: str, example: str) -> None:
    """Raise :class:`UsageError` unless ``text`` can be part of a caption."""
    problem = ""
    if not text.strip():
        problem = "is empty"
    elif text != text.strip():
        problem = "begins or ends with a space"
    elif len(text) > LONGEST:
        problem = f"has {len(text)} characters; {LONGEST} are the most"
    elif not is_line(text):
        problem = "holds control characters or special spaces"
    elif set(text) & set("{}"):
        problem = "holds a brace"
    if problem:
        message = f"the {what} {quoted(text, LONGEST)} {problem}"
        raise UsageError(message, fix=f"give another, for example {example}")


def name_concept(
    folder: Path,
    *,
    token: str | None,
    class_name: str | None,
    taken: Collection[str],
    is_known: Callable[[str], bool] | None = None,
) -> Concept:
    """The concept in ``folder``: what is not given is read from the folder's name.

    ``dog_images`` shows a dog, ``10_sks dog`` a dog that is to be called sks; for a parent of kohya
    folders, their names count. A name without a token may hold a word to make one of, as ``my_cat_luna``
    does; else it is the first of :data:`RARE_TOKENS` that is not taken.

    Args:
        folder: the folder of images, or a parent of kohya folders.
        token: the trigger word, if the user gave one.
        class_name: the class noun, if the user gave one.
        taken: tokens of the concepts that the project has learned.
        is_known: whether the model knows a word already; None: it reads none but those that it knows.

    Raises:
        UsageError: the token is taken, the name says nothing, or one of the two is malformed.
        DatasetError: the folder cannot be used; see :func:`clora_ext.data.layout.find_layout`.
    """
    if token is None or class_name is None:
        read_token, read_class = read_name(folder, token, class_name)
    else:
        read_token, read_class = None, ""
    source = "from the folder's name" if token is None else "as given"
    token = token if token is not None else read_token
    class_name = class_name if class_name is not None else read_class
    if not class_name:
        name = escaped(folder_name(folder))
        raise UsageError(
            f"the folder's name '{name}' does not say what the pictures show",
            fix="say it, for example --class-name dog",
        )
    if token is None:
        return made_up(read_class, class_name, taken, is_known)
    concept = Concept(token, class_name, source)
    if token.casefold() in {known.casefold() for known in taken}:
        raise UsageError(
            f"the token {token!r} already belongs to a concept of this project",
            fix=f"choose another: --token {next_token(taken)}",
        )
    return concept


def made_up(
    read: str, class_name: str, taken: Collection[str], is_known: Callable[[str], bool] | None
) -> Concept:
    """A concept with a token that nobody has named; ``read``: what the folder's name says."""
    speaking = None if is_known is None else speaking_token(read.split(), taken, is_known)
    if speaking is not None:
        return Concept(speaking, class_name, "made of the folder's name")
    return Concept(next_token(taken), class_name, "the next unused one")


def next_token(taken: Collection[str]) -> str:
    """The first rare token that no concept has, in upper or lower case."""
    known = {token.casefold() for token in taken}
    for token in RARE_TOKENS:
        if token not in known:
            return token
    raise UsageError(f"all {len(RARE_TOKENS)} rare tokens are taken", fix="choose a word: --token NAME")


def read_name(folder: Path, token: str | None, class_name: str | None) -> tuple[str | None, str]:
    """Token and class noun from the name of ``folder``, or from those of the kohya folders in it."""
    layout = find_layout(folder)
    if layout.groups[0].words is None:
        return split_name(folder_name(folder), kohya=False)
    found = [split_name(group.words or "", kohya=True) for group in layout.groups]
    tokens = list(dict.fromkeys(one for one, _ in found))
    classes = list(dict.fromkeys(noun for _, noun in found))
    if (token is None and len(tokens) > 1) or (class_name is None and not common_start(classes)):
        names = ", ".join(escaped(group.folder.name) for group in layout.groups)
        if len(layout.groups) > 1:
            raise UsageError(
                f"{escaped(folder)} holds several concepts: {names}",
                fix="add one folder at a time, or say what they share: --token sks --class-name dog",
            )
    return tokens[0], common_start(classes)


def common_start(classes: list[str]) -> str:
    """The words with which all of ``classes`` begin.

    >>> common_start(["dog", "dog sitting"])
    'dog'
    """
    shared = []
    for words in zip(*(name.split() for name in classes), strict=False):
        if len(set(words)) > 1:
            break
        shared.append(words[0])
    return " ".join(shared)


def split_name(name: str, *, kohya: bool) -> tuple[str | None, str]:
    """Token, if the name has one, and class noun of a folder's name without its repeats.

    >>> split_name("my-teddy-bear photos", kohya=False), split_name("sks dog", kohya=True)
    ((None, 'my teddy bear'), ('sks', 'dog'))
    """
    words = re.sub(r"[\s_.-]+", " ", name).split(" ")
    words = [word for word in words if word]
    while words and words[-1].lower() in NOT_THE_SUBJECT:
        words.pop()
    if len(words) > 1:
        rare = words[0].lower() in {*RARE_TOKENS, _CUSTOM}
        if rare or (kohya and len(words[0]) <= LONGEST_TOKEN_BY_LOOKS):
            return words[0], " ".join(words[1:])
    return None, " ".join(words)
