"""Text for people: numbers with nouns, and names that are safe to print."""


def count(number: int, noun: str) -> str:
    """Say ``1 class`` or ``1,234 classes``."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def printable(text: str) -> str:
    """Escape what would break a line, a terminal or XML: control characters and undecodable bytes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
