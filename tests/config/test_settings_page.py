"""The page about settings says what their fields say."""

from settings_page import PAGE, settings_page


def test_the_page_is_made_from_the_fields() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), (
        f"write it: python {settings_page.__module__}.py"
    )
