"""Tables of contents whose names are imported when they are first used (PEP 562)."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # and not typing's, which takes a while to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["lazily"]


def lazily(package: str, home: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` for a package: ``__getattr__, __dir__ = lazily(__name__, {...})``.

    Args:
        package: its name.
        home: the module that each name is in: ``"tasks"`` for one of the package's own, else ``"weft.calls"``.
            No module of the package may have the name of something else that is in the table; it would hide it.
    """

    def find(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        module = home[name]
        value = getattr(import_module(module if "." in module else f"{package}.{module}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home})

    return find, names
