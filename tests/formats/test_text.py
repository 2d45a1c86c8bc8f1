"""Foreign text, whatever it holds: what is shown always prints, and what printed before stays as it was."""

from hypothesis import given
from hypothesis import strategies as st

from clora_ext.formats.text import control_character, escaped, escaped_lines, is_line, one_line, quoted

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
HINDI = "\u0930\u094d\u200d\u092f"
HOSTILE = "\x1b[2J\r\x07\x00\u202e\u2066\u2028\ud800\ufeff\u00a0"
# Half of the letters of every text are such that do harm, or only look as if they did.
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from(HOSTILE + FAMILY + HINDI + "\n ab")))


def prints(text: str) -> bool:
    return text.replace("\u200d", "").replace("\u200c", "").isprintable()


@given(TEXTS)
def test_an_escaped_text_prints_and_loses_nothing(text: str) -> None:
    assert prints(escaped(text))
    assert escaped(escaped(text)) == escaped(text)
    if "\\" not in text:
        # What was escaped can be read back: nothing is left out or exchanged.
        back = escaped(text).encode("ascii", "backslashreplace").decode("unicode_escape")
        assert back.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


@given(TEXTS)
def test_lines_stay_apart_and_each_prints(text: str) -> None:
    assert escaped_lines(text).count("\n") == text.count("\n")
    assert all(map(prints, escaped_lines(text).split("\n")))
    assert escaped_lines(escaped_lines(text)) == escaped_lines(text)


@given(TEXTS, st.integers(4, 40))
def test_a_label_is_one_line_of_bounded_length(text: str, most: int) -> None:
    line = one_line(text, most)
    assert prints(line)
    assert len(line) <= most
    assert line == line.strip()
    assert "  " not in line
    assert one_line(line, most) == line


@given(TEXTS, st.integers(1, 40))
def test_a_quotation_prints_and_shows_the_beginning(text: str, most: int) -> None:
    found = quoted(text, most)
    assert prints(found)
    assert found[0] == found[-1] == "'"
    assert found[1:-1] == (escaped(text) if len(text) <= most else f"{escaped(text[:most])}...")


@given(TEXTS)
def test_a_line_is_what_is_shown_as_it_is(text: str) -> None:
    assert is_line(text) == (escaped(text) == text and not text.isspace() and text != "")
    if is_line(text):
        assert control_character(text) is None


@given(TEXTS)
def test_the_first_control_character_is_found(text: str) -> None:
    place = control_character(text)
    harmless = text if place is None else text[:place]
    assert control_character(harmless) is None
    assert not set(harmless) & (set(map(chr, range(32))) | set("\x7f\u2028\u2029\u202e\u2066"))
    assert place is None or not is_line(text[place])


def test_joined_emoji_and_scripts_stay_readable() -> None:
    for text in (FAMILY, HINDI, "犬の写真", "🇩🇪 ✌🏽"):
        assert escaped(text) == escaped_lines(text) == one_line(text, 80) == text
        assert quoted(text) == f"'{text}'"
        assert is_line(text)


def test_a_long_text_is_not_read_to_its_end() -> None:
    class Counted(str):
        __slots__ = ()

        def __iter__(self):  # noqa: ANN204
            raise AssertionError

    assert one_line(Counted("x" * 10_000_000), 10) == "xxxxxxx..."
    assert quoted(Counted("x" * 10_000_000), 3) == "'xxx...'"
