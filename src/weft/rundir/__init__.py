"""The run directory: what is known of a run, on disk, for the user alone.

* `RunFolder`, `find_run`, `latest_run`, `all_runs`, `remove_rests`: folders of runs, and who drives them
* `Journal`, `JournalReader`, `read_journal`: what happened
* `Recorder`, `Attempt`, `read_outcomes`, `Outcome`: what jobs returned
* `Crew`, `Member`, `dismiss`, `log_path`, `keep_log`: the processes that work for a driver, and what jobs wrote
* `safe_name`, `make_folder`, `append_to`, `write_atomic`: names and modes; signatures are in `weft.rundir.seal`
"""

from weft.lazy import lazily

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from weft.rundir.crew import Crew, Member, dismiss, keep_log, log_path
    from weft.rundir.folder import Driver, RunFolder, all_runs, find_run, latest_run, remove_rests
    from weft.rundir.journal import Journal, JournalReader, read_journal
    from weft.rundir.outcomes import Attempt, Outcome, Recorder, read_file, read_outcomes, task_folder, task_name
    from weft.rundir.place import append_to, home, make_folder, safe_name, write_atomic

__all__ = [
    "Attempt",
    "Crew",
    "Driver",
    "Journal",
    "JournalReader",
    "Member",
    "Outcome",
    "Recorder",
    "RunFolder",
    "all_runs",
    "append_to",
    "dismiss",
    "find_run",
    "home",
    "keep_log",
    "latest_run",
    "log_path",
    "make_folder",
    "read_file",
    "read_journal",
    "read_outcomes",
    "remove_rests",
    "safe_name",
    "task_folder",
    "task_name",
    "write_atomic",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Attempt": "outcomes",
        "Crew": "crew",
        "Driver": "folder",
        "Journal": "journal",
        "JournalReader": "journal",
        "Member": "crew",
        "Outcome": "outcomes",
        "Recorder": "outcomes",
        "RunFolder": "folder",
        "all_runs": "folder",
        "append_to": "place",
        "dismiss": "crew",
        "find_run": "folder",
        "home": "place",
        "keep_log": "crew",
        "latest_run": "folder",
        "log_path": "crew",
        "make_folder": "place",
        "read_file": "outcomes",
        "read_journal": "journal",
        "read_outcomes": "outcomes",
        "remove_rests": "folder",
        "safe_name": "place",
        "task_folder": "outcomes",
        "task_name": "outcomes",
        "write_atomic": "place",
    },
)
