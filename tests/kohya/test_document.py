"""Files as written: the line of every key, and files that are none."""

from pathlib import Path

import pytest
from cases import check_each
from hypothesis import given
from hypothesis import strategies as st

from clora_ext.kohya.document import Unreadable, read_document

SPREAD = '''# a comment
first = 1
long = """one
two"""   # and a comment

[section]
list = [1,
 2, # two
 3]
"with blanks" = {inner = 1, deeper = {innermost = 2}}

[far.away]
key = 'x'
[[datasets]]
resolution = 512

  [[datasets.subsets]]
  image_dir = 'x'
  [datasets.subsets.custom_attributes]
  flag = true
  [[datasets.subsets]]

  image_dir = "y"
[[datasets]]
dotted.name = 5
[[datasets.subsets]]
image_dir = "z"
'''


def written(folder: Path, text: str | bytes, name: str = "x.toml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def test_every_key_is_found_on_its_line(tmp_path: Path) -> None:
    document = read_document(written(tmp_path, SPREAD))
    lines = SPREAD.split("\n")
    keys = [place for place in document.lines if isinstance(place[-1], str)]
    assert len(keys) == 17
    assert all(str(place[-1]) in lines[document.lines[place] - 1] for place in keys)
    assert document.line(("datasets", 1, "subsets", 0, "image_dir")) == 27
    assert document.line(("datasets", 0, "subsets", 1)) == 21
    assert document.line(("section", "list", 2, "nothing")) == 7


def test_json_has_lines_too(tmp_path: Path) -> None:
    text = '{\n "general": {"a\\"b": "c: d"},\n "datasets": [\n  {"resolution": 512,\n   "subsets": []}]}'
    document = read_document(written(tmp_path, text, "x.json"))
    assert document.lines == {
        ("general",): 2,
        ("general", 'a"b'): 2,
        ("datasets",): 3,
        ("datasets", 0, "resolution"): 4,
        ("datasets", 0, "subsets"): 5,
    }


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
VALUES = st.sampled_from(["1", '"x"', "[1,\n 2]", '"""a\n\nb"""', "true # said", "{a = 1}", "'''\n\n'''"])
BETWEEN = st.sampled_from(["", "\n", "# x\n", "\n\n", "  # indented\n"])
ITEMS = st.lists(st.tuples(BETWEEN, NAMES, VALUES), min_size=1, max_size=6, unique_by=lambda one: one[1])


@pytest.mark.long
@given(top=ITEMS, tables=st.lists(st.tuples(BETWEEN, NAMES, ITEMS), max_size=4, unique_by=lambda one: one[1]))
def test_lines_are_right_whatever_stands_between(
    tmp_path_factory: pytest.TempPathFactory,
    top: list[tuple[str, str, str]],
    tables: list[tuple[str, str, list[tuple[str, str, str]]]],
) -> None:
    text, wanted = "", {}

    def write(items: list[tuple[str, str, str]], above: tuple[str, ...]) -> None:
        nonlocal text
        for between, name, value in items:
            text += between
            wanted[(*above, name)] = text.count("\n") + 1
            text += f"{name} = {value}\n"

    write(top, ())
    used = {name for _, name, _ in top}
    for between, name, items in tables:
        if name not in used:
            text += between
            wanted[(name,)] = text.count("\n") + 1
            text += f"[{name}]\n"
            write(items, (name,))
    document = read_document(written(tmp_path_factory.mktemp("toml"), text))
    assert {place: document.lines[place] for place in wanted} == wanted


BAD: list[tuple[str | bytes, int | None, str, str]] = [
    ('a = 1\nimage_dir = "C:\\hoge"', 2, "backslash", "single quotes"),
    ('a = "C:\\users\\me"', 1, "backslash", "single quotes"),
    ("a = 1\na = 2", 2, "not TOML", ""),
    ("flip_aug = True", 1, "lower case", "write true or false"),
    (b"a = 1\nb = '\xff'", 2, "not UTF-8", "UTF-8"),
    (b"#" * (1 << 20) + b"\n#", None, "more than 1,048,576 bytes", ""),
    ("a = " + "[" * 3000, 1, "not TOML", ""),
]


def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    def check(case: tuple[str | bytes, int | None, str, str]) -> None:
        text, line, reason, fix = case
        with pytest.raises(Unreadable) as caught:
            read_document(written(tmp_path, text))
        assert caught.value.line == line
        assert reason in caught.value.reason
        assert fix in caught.value.fix

    check_each(BAD, check)


def test_all_of_toml_1_passes(tmp_path: Path) -> None:
    """What sd-scripts' own parser refuses: a byte order mark, lists of several kinds."""
    assert read_document(written(tmp_path, '\ufeffx = [1, "a"]\r\ny = 2\r\n')).lines == {("x",): 1, ("y",): 2}


def test_folders_and_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "is a folder"), (tmp_path / "no.toml", "cannot be read")):
        with pytest.raises(Unreadable, match=reason):
            read_document(path)


def test_json_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    for text, line in (('{\n "a": nope}', 2), ('{"a": 1, "a": 2}', None), ("[1]", None), ("[" * 99999, None)):
        with pytest.raises(Unreadable) as caught:
            read_document(written(tmp_path, text, "x.json"))
        assert caught.value.line == line
