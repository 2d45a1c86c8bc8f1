"""Two hundred captions in many scripts, for whatever reads texts."""
# ruff: noqa: RUF001 - they are what they look like

_WORDS = (
    "a photo of sks dog",
    "wet street at night, neon, 35mm",
    "猫が窓辺で眠っている",
    "一只戴着红色围巾的狐狸",
    "빨간 우산을 든 소녀",
    "портрет старого моряка",
    "صورة لقطة في حديقة",
    "ภาพวาดสีน้ำ",
    "café crème à la plage",
    "Größenwahn, straße",
    "👩🏽\u200d🚀 on the 🌙",
    "don't, we'll, I'M",
    "1girl, solo, 4k, 2048x1152",
    "price: $1,299.00!!",
    "line one\nline two\r\n\r\nline four",
    "tabs\tand  spaces   here",
    "snake_case camelCase kebab-case",
    "<b>no</b> &amp;",
    "e\u0301 and é",
    "𝔣𝔯𝔞𝔨𝔱𝔲𝔯 and ﬁ",
)


def captions() -> list[str]:
    """Every text alone, each beside each of nine others, and two that are far too long; 202 of them."""
    pairs = [f"{one}, {other}" for one in _WORDS for other in _WORDS[:9]]
    long = ["a dog and a cat, " * 100, "猫" * 600]
    return [*_WORDS, *pairs, *long]
