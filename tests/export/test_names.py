"""File names that every program and every file system takes."""

import pytest
from cases import check_each
from hypothesis import example, given
from hypothesis import strategies as st

from clora_ext.errors import UsageError
from clora_ext.export.names import check_name, safe_name


@given(st.text(max_size=400))
@example("[x], y")
@example("a" * 300)
@example("🐕" * 100)
@example("\udcff")
@example(" .con. ")
@example("_")
def test_what_is_made_safe_is_safe(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name.encode("utf-8")) <= 201
    assert not set(name) & set('[],/\\<>:"|?*')
    assert name.replace("\u200d", "").isprintable()
    assert name.strip(" .") == name
    assert safe_name(name) == name
    assert check_name(name + ".safetensors") == name


def test_harmless_names_stay() -> None:
    for name in ("my dogs v2", "sks-dog_1.5", "🐕", "犬", "ünï", "a'b (2)"):
        assert check_name(name) == safe_name(name) == name


REFUSED = {
    "a[b]": "[' ']'",
    "a,b": "','",
    "../a": "'/'",
    "a\\b": "'\\'",
    "a\x1b[2J": "x1b",
    "a\u202eb": "u202e",
    "x" * 300: "200 bytes",
    "": "empty",
    ".hidden": "dot",
    "nul": "reserved",
    "\udcff": "udcff",
}


def test_other_names_are_refused_with_a_better_one() -> None:
    def check(name: str) -> None:
        with pytest.raises(UsageError) as caught:
            check_name(name)
        assert REFUSED[name] in caught.value.message
        assert caught.value.message.isprintable()
        better = caught.value.fix.removeprefix("try --name '").removesuffix("'")
        assert check_name(better) == better

    check_each(REFUSED, check)
