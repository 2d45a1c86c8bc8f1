"""docs/kohya.md says what the table says."""

from kohya_page import PAGE, kohya_page


def test_the_page_is_the_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == kohya_page()
