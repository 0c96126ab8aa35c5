"""What an element died of, as far as HTCondor and its log tell."""

from __future__ import annotations

import re

from weft.executors.cluster.condor_script import NO_LOG
from weft.executors.cluster.fate import MEMORY, Fate, by_status, was_killed
from weft.executors.cluster.system import Phase, Seen

__all__ = ["verdict"]


def verdict(seen: Seen, log: str) -> tuple[Fate, str]:
    """What an element that left no outcome died of, and how that is told.

    Args:
        seen: what HTCondor says of it.
        log: the end of its log.

    Returns:
        A word, and a sentence without its full stop that has the element for its "it".
    """
    says = f"{seen.state}, {seen.reason}" if seen.reason else seen.state
    if seen.phase is not Phase.ENDED:
        return _waiting(seen, says)
    if seen.state == "REMOVED":
        return _removed(seen, says)
    if was_killed(seen, 9) and MEMORY.search(log):
        return "memory", f"it used more memory than it had asked for, by its log ({seen.state})"
    if seen.exitcode == NO_LOG:
        return "died", f"it could not write its log ({says}): {NOT_SHARED}"
    return by_status(seen, says)


NOT_SHARED = "where nodes do not see the folder of the executor, or run jobs as another user, say transfer=True"
# Numbers of HoldReasonCode. Who has held a job of their own, or submitted it so (15), may release it; and 16 is the
# time in which files are spooled. What else is held stays so.
PASSES = {1, 15, 16}
MEMORY_CODE, DURATION_CODES = 34, {46, 47}
POLICY_CODES = {3, 21, 26}  # an expression of the user's, the node's or the site's says so
HELD = re.compile(r"\(Code (\d+) Subcode \d+\)\Z", re.ASCII)
OF_MEMORY = re.compile(r"\bmemory|ResidentSetSize|ImageSize", re.IGNORECASE)
OF_TIME = re.compile(r"JobCurrentStart|\bwall[- ]?(?:clock|time)|\brun ?time|\btime limit|\bduration", re.IGNORECASE)


def _waiting(seen: Seen, says: str) -> tuple[Fate, str]:
    match = HELD.search(seen.reason)
    code = int(match[1]) if match else None
    if code is None or code in PASSES:
        return "died", f"it left no outcome, though HTCondor does not say that it has ended ({says})"
    if code == MEMORY_CODE:
        return "memory", f"it used more memory than it had asked for ({says})"
    if code in DURATION_CODES:
        return "timeout", f"it ran longer than its time limit ({says})"
    policy = _by_policy(seen, says) if code in POLICY_CODES else None
    return policy or ("held", f"it will not run by itself any more ({says})")


def _removed(seen: Seen, says: str) -> tuple[Fate, str]:
    """By somebody, by an expression that says when, or by the site."""
    if seen.reason.startswith("via condor_rm"):
        return "cancelled", f"it was removed ({says})"
    return _by_policy(seen, says) or ("cancelled", f"it was removed ({says})")


def _by_policy(seen: Seen, says: str) -> tuple[Fate, str] | None:
    if OF_MEMORY.search(seen.reason):
        return "memory", f"it used more memory than it may ({says})"
    if OF_TIME.search(seen.reason):
        return "timeout", f"it ran longer than its time limit ({says})"
    return None
