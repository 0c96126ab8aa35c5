"""What is printed about procs, and what of their logs."""

import io
import sys
import threading

import pytest

from weft.procs import ProcFailedError, ProcSkippedError
from weft.procs.logs import read_log, snippet


class Ascii(io.StringIO):
    encoding = "ascii"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def printed(manager, monkeypatch):
    """What a run prints, without times."""

    def printed(stream=None):
        out = io.StringIO() if stream is None else stream
        monkeypatch.setattr(sys, "stdout", out)

        def bad():
            print("one\nan error: \x1b[31mred\ntwo")
            raise ProcFailedError("no disk\nat all")

        def skipped():
            raise ProcSkippedError("nothing new")

        manager.set_options(report=True)
        manager.Proc("good <b>", lambda: None)
        manager.Proc("skipped", skipped)
        manager.Proc("bad", bad, deps=["good <b>", "skipped"])
        manager.Proc("last\r", lambda: None, deps=["bad"])
        manager.start("last\r")
        assert not manager.wait_for_all(exception_on_failure=False)
        return [line.partition(" (")[0] for line in out.getvalue().splitlines()]

    return printed


def test_one_line_at_begin_and_end_and_a_summary(manager, printed):
    log = manager.log_directory / "bad.log"
    assert printed() == [
        "▶ good <b>",
        "✓ good <b>",
        "▶ skipped",
        "⊘ skipped: nothing new",
        "▶ bad",
        "✗ bad: no disk\\nat all",
        "    one",
        "    an error: \\x1b[31mred",
        "    two",
        "    no disk",
        f"    log: {log}",
        '🚫 last\\r: canceled due to failure of "bad"',
        "4 procs: 1 succeeded, 1 skipped, 1 failed, 1 unreachable",
    ]


def test_a_stream_without_the_signs_gets_others(printed):
    lines = printed(Ascii())
    assert lines[0] == "> good <b>"
    assert lines[-2].startswith("! last")
    assert all(line.isascii() for line in lines)


@pytest.mark.parametrize(("variable", "coloured"), [(None, True), ("1", False), ("", False)])
def test_a_terminal_gets_colours_unless_it_wants_none(printed, monkeypatch, variable, coloured):
    if variable is None:
        monkeypatch.delenv("NO_COLOR", raising=False)
    else:
        monkeypatch.setenv("NO_COLOR", variable)
    assert any("\x1b[32m✓\x1b[0m" in line for line in printed(Terminal())) == coloured


@pytest.mark.parametrize("stream", ["closed", None])
def test_output_that_nobody_reads_is_no_reason_to_fail(manager, monkeypatch, stream):
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    manager.set_options(report=True)
    monkeypatch.setattr(sys, "stdout", stream)
    manager.Proc("x", lambda: 1)
    manager.start("x")
    assert manager.wait_for_all()


def test_all_of_the_log_is_shown_where_that_is_asked_for(manager, capsys):
    def bad():
        print("\n".join(f"line {n}" for n in range(40)))
        raise ProcFailedError("no")

    manager.set_options(report=True)
    manager.Proc("a", bad)
    manager.Proc("b", bad)
    manager.start("a")
    manager.wait_for_all(exception_on_failure=False)
    shown = capsys.readouterr().out
    assert "    line 39" in shown
    assert "    line 20" not in shown
    manager.set_options(full_log_on_failure=True)
    manager.start("b")
    manager.wait_for_all(exception_on_failure=False)
    assert "    line 0\n" in capsys.readouterr().out


def test_nothing_is_printed_while_the_user_is_asked(manager, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    shown = []

    def answer(message):
        context_is_waiting.set()
        other_has_ended.wait()
        shown.append(out.getvalue())
        return "yes"

    context_is_waiting, other_has_ended = threading.Event(), threading.Event()
    monkeypatch.setattr("builtins.input", answer)
    manager.set_options(report=True)
    end = manager.observe(
        lambda happened: happened.proc.name == "other" and happened.state.is_end and other_has_ended.set()
    )
    manager.Proc("other", lambda: None)

    def ask(context):
        question = threading.Thread(target=context.get_input, args=("? ",))
        question.start()
        context_is_waiting.wait()
        context.wait("other")
        question.join()

    manager.Proc("ask", ask, now=True)
    assert manager.wait_for_all()
    end()
    assert "other" not in shown[0]
    assert [line.partition(" (")[0] for line in out.getvalue().splitlines()] == [
        "▶ ask",
        "▶ other",
        "✓ other",
        "✓ ask",
        "2 procs: 2 succeeded",
    ]


def test_an_observer_hears_of_begins_and_ends_and_breaks_nothing(manager, caplog):
    heard = []
    end = manager.observe(lambda happened: heard.append((happened.proc.name, happened.state.name)))
    manager.observe(lambda happened: 1 // 0)
    manager.Proc("x", lambda: None)
    manager.start("x")
    manager.wait_for_all()
    end()
    manager.Proc("y", lambda: None)
    manager.start("y")
    assert manager.wait_for_all()
    assert heard == [("x", "RUNNING"), ("x", "SUCCEEDED")]
    assert caplog.text.count("ZeroDivisionError") == 1


# Snippets ---------------------------------------------------------------------------------------------------


def log(tmp_path, text):
    path = tmp_path / "log"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_snippet_has_two_lines_around_what_tells_most(tmp_path):
    lines = [f"line {n}" for n in range(20)]
    lines[5] = "An ERROR here"
    lines[8] = "DeprecationWarning"  # no whole word
    lines[15] = "it is deprecated."
    assert snippet(log(tmp_path, "\n".join(lines))) == [*lines[3:8], "...", *lines[13:18]]
    assert snippet(tmp_path / "log", full=True) == lines


@pytest.mark.parametrize("word", ["exception", "error", "warning", "notice", "deprecated", "Error", "NOTICE"])
def test_whole_words_tell(tmp_path, word):
    text = [*map(str, range(30)), f"an {word}: x"]
    assert snippet(log(tmp_path, "\n".join(text))) == text[-3:]
    text[-1] = f"an{word}s"
    assert snippet(log(tmp_path, "\n".join(text))) == text[-16:]


def test_a_log_may_be_gone_empty_or_no_text(tmp_path):
    assert snippet(tmp_path / "nothing") == []
    assert snippet(log(tmp_path, "")) == []
    assert snippet(log(tmp_path, b"error \xff\xfe\n")) == ["error \\xff\\xfe"]
    assert read_log(tmp_path / "log", 3) == "\\xff\\xfe\n"
