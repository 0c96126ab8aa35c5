"""Telling the log of what went wrong, from places that must go on whatever happens."""

from __future__ import annotations

import logging

from weft.errors import told

__all__ = ["complain", "told"]

LOGGER = logging.getLogger("weft")


def complain(message: str, *args: object) -> None:
    """Log the exception that is being handled. A handler or filter of the user's that raises in turn is ignored."""
    try:
        LOGGER.exception(message, *args)
    except BaseException:  # noqa: BLE001 - there is nobody left to tell
        pass
