"""Calls at once, here."""

from __future__ import annotations

from typing import Any

from weft.calls.closure import Closure
from weft.runners.base import Runner

__all__ = ["SerialRunner"]


class SerialRunner(Runner):
    """Checks, calls at once and returns real values. Errors come at the call. Best for finding mistakes."""

    def run(self, closure: Closure) -> Any:
        return closure.validated_call()
