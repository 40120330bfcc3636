import subprocess
import sys
from pathlib import Path

import pytest

from mailroom import __version__
from tests.cli.conftest import Run

COMMANDS = [
    [], ["init"], ["classify"], ["evaluate"], ["show"], ["log"], ["curate"], ["adapt"],
    ["taxonomy"], ["taxonomy", "check"], ["taxonomy", "tree"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("columns", ["80", "120"])
def test_help_fits_the_terminal_and_gives_an_example_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str], columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result = run(*command, "--help")
    assert result.code == 0
    assert all(len(line) <= 80 for line in result.lines)
    assert not any(line.rstrip().endswith("...") and "Usage" not in line for line in result.lines)
    if command != ["taxonomy"]:
        assert sum(line.strip().startswith("Example:  mailroom ") for line in result.lines) == 1


def test_version(run: Run) -> None:
    assert run("--version").out == f"mailroom {__version__}\n"


def test_an_unknown_command_is_one_line_and_2(run: Run) -> None:
    result = run("clasify")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "clasify" in result.err


def test_no_command_prints_the_help_and_2(run: Run) -> None:
    result = run()
    assert result.code == 2
    assert "Commands:" in result.err


def test_names_that_the_terminal_cannot_show_are_no_reason_to_stop(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text("labels:\n  - name: Größe 今日\n  - name: Two\n", encoding="utf-8")
    command = [sys.executable, "-m", "mailroom", "taxonomy", "tree", str(path)]
    done = subprocess.run(
        command, capture_output=True, env={"PYTHONIOENCODING": "ascii", "PATH": ""}, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert b"Two" in done.stdout
