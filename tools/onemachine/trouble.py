"""What stops a command: told to the user in its own words, without a traceback."""


class Trouble(Exception):  # noqa: N818
    """The thing, the rule, and what to do about it."""
