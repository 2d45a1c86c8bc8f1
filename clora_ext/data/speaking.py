"""Trigger words that say what they stand for, from the words in a folder's name."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence

__all__ = ["speaking_token"]

# What folders are called by, and every model knows: kinds of things, what they are like, what is no name.
_COMMON = frozenset(
    """
    a an and at by for from her his in its my new of old on our set the their this to with your best final
    copy test untitled folder file files output input raw edited cropped selection samples sample album dog
    dogs puppy cat cats kitten bear teddy bird birds horse horses cow pig sheep goat rabbit bunny fox wolf
    lion tiger elephant monkey mouse rat hamster fish shark whale dolphin turtle snake frog lizard dragon
    dinosaur duck goose chicken rooster owl eagle parrot penguin bee butterfly spider insect animal animals
    pet pets man men woman women boy boys girl girls child children kid kids baby babies person people human
    face faces portrait portraits head body hair eyes hand hands family friend friends mother father mom dad
    sister brother son daughter wife husband grandma grandpa uncle aunt couple model actor character
    characters hero robot robots toy toys doll dolls figure figurine plush plushie action game games ball
    block blocks puzzle car cars truck trucks bus train trains plane airplane aircraft boat ship ships bike
    bicycle motorcycle van rocket spaceship vehicle vehicles house houses home building buildings castle
    church tower bridge street city town village room kitchen garden park beach sea ocean lake river
    mountain mountains forest tree trees flower flowers plant plants rose leaf grass sky sun moon star stars
    cloud clouds snow rain fire water ice landscape landscapes nature interior architecture food cake bread
    pizza burger fruit apple banana orange lemon cup mug bottle glass plate bowl spoon knife can box bag
    backpack purse wallet shoe shoes sneaker sneakers boot boots hat cap shirt dress jacket coat pants jeans
    sock socks ring necklace watch glasses sunglasses clock lamp candle vase chair chairs table sofa couch
    bed desk book books pen phone computer laptop camera keyboard monitor guitar piano drum instrument sword
    gun shield statue sculpture logo logos icon icons emoji sticker stickers poster font letter letters
    number numbers style styles art artwork painting paintings drawing drawings sketch sketches illustration
    illustrations cartoon cartoons anime manga comic comics pixel pixels watercolor watercolour oil ink
    pencil pastel charcoal silhouette silhouettes texture pattern patterns background backgrounds render
    renders concept design designs fashion product products object objects thing things item items red green
    blue yellow white black grey gray brown pink purple golden gold silver dark light bright big small large
    little tiny tall short long young cute pretty beautiful fluffy wooden metal plastic paper stone retro
    vintage modern ancient fantasy realistic abstract first second third one two three four five front back
    left right side top bottom day night summer winter spring autumn image images picture pictures photo
    photos pic pics img imgs dataset training data lora loras dreambooth subject class token regularization
    reg crop moved another other more extra same like copied renamed spare
    """.split()
)
_SHORTEST = 3
_LONGEST = 8
_ENDINGS = ("", "x", "q", "xq")


def speaking_token(
    words: Sequence[str], taken: Collection[str], is_known: Callable[[str], bool]
) -> str | None:
    """A rare word made of what ``words`` say beside kinds of things, such as a name; None: they say no more.

    >>> speaking_token(["my", "cat", "Luna"], (), lambda word: word == "luna")
    'lna'
    >>> speaking_token(["big", "dog"], (), lambda word: False) is None
    True

    Args:
        words: of a folder's name.
        taken: tokens of the concepts that the project has learned.
        is_known: whether the model knows a word already.
    """
    used = {token.casefold() for token in taken}
    for word in words:
        plain = _plain(word)
        if plain in _COMMON or len(plain) < _SHORTEST:
            continue
        for candidate in _candidates(plain):
            if candidate not in used and candidate not in _COMMON and not is_known(candidate):
                return candidate
    return None


def _plain(word: str) -> str:
    """Small letters without accents; empty if it holds anything but letters of the Latin alphabet."""
    letters = "".join(one for one in unicodedata.normalize("NFKD", word) if not unicodedata.combining(one))
    return letters.lower() if re.fullmatch(r"[A-Za-z]+", letters) else ""


def _candidates(word: str) -> Iterator[str]:
    """The word itself, then ever rarer spellings of it, then numbered ones; half a word is another word."""
    bare = word[0] + re.sub(r"[aeiou]", "", word[1:], count=1 if len(word) <= _LONGEST else 0)[: _LONGEST - 1]
    if len(word) <= _LONGEST:
        yield word
    yield from (bare + ending for ending in _ENDINGS if len(bare + ending) >= _SHORTEST)
    yield from (f"{bare}{number}" for number in range(2, 10))
