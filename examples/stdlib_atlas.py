"""An atlas of the Python standard library as it is installed on this machine, woven with weft.

    python examples/stdlib_atlas.py                      # writes atlas.json and atlas.svg
    python examples/stdlib_atlas.py ~/project --output /tmp/project
    python examples/stdlib_atlas.py --runner dry         # only check that every call would be accepted

Four plain functions make a graph of about a thousand calls: `survey` reads one source file, `gather` adds up the
files of one package, `weigh` works out the import graph, `publish` writes it all down. `weave` calls them through a
runner, and only the runner decides where they run.

Left out are site-packages, hidden folders, and tests (folders named test, tests or idle_test); --all takes the tests
in. A file that does not parse is reported, and the rest of the atlas does without it.
"""

import argparse
import io
import os
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atlas.imports import weigh
from atlas.publish import Atlas, publish
from atlas.survey import Place, explore, gather, survey, unit_of
from atlas.terminal import Progress, summary
from atlas.words import count, printable
from weft import ConcurrentRunner, DryRunner, LocalExecutor, SerialRunner


def weave(runner: Any, place: Place, title: str, output: Path) -> Any:
    """Call everything through ``runner``. Returns what the last call does: an Atlas, or the future of one."""
    surveys: dict[str, list[Any]] = {}
    for path in place.files:
        surveys.setdefault(unit_of(path), []).append(runner(survey, place.root, path, place.prefix))
    units = frozenset(surveys)
    packages = [runner(gather, name, found, place.prefix, units) for name, found in sorted(surveys.items())]
    graph = runner(weigh, packages)
    return runner(publish, title, place.root, packages, graph, str(output))


def main() -> int:
    """Run the script; returns its exit code."""
    options = _options()
    _ignore_warnings()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files have letters that a terminal may not
    try:
        return _draw_atlas(options)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw an atlas of the Python standard library, or of any sources.")
    parser.add_argument("directory", type=Path, nargs="?", help="Python sources (default: the standard library)")
    parser.add_argument("--runner", choices=("serial", "dry", "threads", "processes"), default="processes")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2, metavar="N", help="default: one per core")
    parser.add_argument("--output", type=Path, default=Path(), metavar="DIR", help="for atlas.json and atlas.svg")
    parser.add_argument("--all", action="store_true", help="take in folders of tests")
    parser.add_argument("--no-compare", action="store_true", help="do not run serially too, to compare the time")
    options = parser.parse_args()
    options.directory = options.directory or Path(sysconfig.get_paths()["stdlib"])
    if not options.directory.is_dir():
        parser.error(f"no such directory: {printable(str(options.directory))}")
    if options.workers < 1:
        parser.error(f"--workers must be at least 1, not {options.workers}")
    options.output = options.output.absolute()
    return options


def _draw_atlas(options: argparse.Namespace) -> int:
    place = explore(options.directory, tests=options.all)
    if not place.files:
        print(f"no Python sources below {printable(place.root)}: nothing to draw", file=sys.stderr)
        return 1
    title = _title(options.directory, place)
    print(f"An atlas of {title[:1].lower() + title[1:] if title.startswith('The ') else title}")
    _dry_run(place, title, options.output)
    if options.runner == "dry":
        return 0
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"cannot write to {printable(str(options.output))}: {error.strerror}", file=sys.stderr)
        return 2
    _run(options, place, title)
    return 0


def _title(directory: Path, place: Place) -> str:
    if directory.resolve() == Path(sysconfig.get_paths()["stdlib"]).resolve():
        return f"The Python {sys.version_info.major}.{sys.version_info.minor} standard library"
    return printable(place.prefix or Path(place.root).name or place.root)


def _dry_run(place: Place, title: str, output: Path) -> None:
    start = time.perf_counter()
    with DryRunner() as runner:
        weave(runner, place, title, output)
    print(f"dry run: {count(runner.calls, 'call')} checked in {time.perf_counter() - start:.1f} s", flush=True)


def _run(options: argparse.Namespace, place: Place, title: str) -> None:
    atlas, seconds = _timed(options.runner, options.workers, place, title, options.output)
    print(f"\n{summary(atlas)}")
    if options.runner == "serial" or options.no_compare:
        print(f"took {seconds:.2f} s")
    else:
        print("once more serially, to compare ...", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            again, serial = _timed("serial", 1, place, title, Path(folder))
            same = "the same bytes" if _bytes(again) == _bytes(atlas) else "OTHER BYTES: did a file change meanwhile?"
        print(f"woven in {seconds:.2f} s, serially in {serial:.2f} s: {serial / seconds:.1f} x, {same}")
    print(f"wrote {_shown(atlas.svg)}\n  and {_shown(atlas.json)}")


def _timed(kind: str, workers: int, place: Place, title: str, output: Path) -> tuple[Atlas, float]:
    """Make the atlas, the start of workers included; returns it and the seconds it took."""
    start = time.perf_counter()
    with Progress(len(place.files)) as progress, _runner(kind, workers, progress) as runner:
        atlas = weave(runner, place, title, output)
        atlas = atlas.result() if isinstance(atlas, Future) else atlas
        return atlas, time.perf_counter() - start


@contextmanager
def _runner(kind: str, workers: int, progress: Progress) -> Iterator[Any]:
    if kind == "serial":
        with SerialRunner() as runner:
            yield _counted(runner, progress)
        return
    with _pool(kind, workers) as pool, ConcurrentRunner(schedule=True, executor=pool, observers=[progress]) as runner:
        yield runner


def _counted(runner: SerialRunner, progress: Progress) -> Any:
    """A serial runner has no events: what it has called when it returns is done."""

    def call(function: Any, *args: Any) -> Any:
        result = runner(function, *args)
        if function is survey:
            progress.step()
        return result

    return call


def _pool(kind: str, workers: int) -> Executor:
    if kind == "threads":
        return ThreadPoolExecutor(workers)
    return LocalExecutor(workers, initializer=_ignore_warnings)


def _ignore_warnings() -> None:
    # What the parser thinks of old escapes in other people's sources does not belong in the output.
    for category in (SyntaxWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module="<unknown>")


def _bytes(atlas: Atlas) -> list[bytes]:
    return [Path(path).read_bytes() for path in (atlas.json, atlas.svg)]


def _shown(path: str) -> str:
    return printable(min(path, os.path.relpath(path), key=len))


if __name__ == "__main__":
    sys.exit(main())
