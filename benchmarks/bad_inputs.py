"""Give the command line everything that is wrong, and table what it says: exit code and message.

    python -m benchmarks.bad_inputs                       # the table on stdout
    python -m benchmarks.bad_inputs --write docs/bad-inputs.md

Exits with 1 where a traceback is printed, or an exit code is not the expected one.
"""

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bad_input_cases import ALL, Case, make_base

# root reads and writes where nobody may; without these capabilities it is an owner like any other.
AS_OWNER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override"]
# Said of every answer here, since the workspace has no cross-encoder, and of every run.
USUAL = re.compile(r"mailroom: no cross-encoder|[\d,]+ emails? in |mailroom: stopped")
INTRODUCTION = """\
# What is said about bad input

`python -m benchmarks.bad_inputs --write docs/bad-inputs.md` makes each of these inputs, runs the command,
and writes this table. The exit code is 0 where everything asked for was done, 1 where something was not, 2
where the command itself made no sense, 130 after Ctrl-C (143 after SIGTERM, 141 where the reader of the
output went away). Messages go to stderr. The table shows the first, without the notice that this workspace
has no cross-encoder and without the closing count.

A message that cannot be read, or a path that is missing, is reported and counted while the others go on.
The first Ctrl-C ends a run with what is under way finished, logged and printed; the second stops at once.
The same command goes on from there.
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What one case led to."""

    code: int
    err: str

    @property
    def message(self) -> str:
        """The first line that is about this input."""
        lines = [line for line in self.err.splitlines() if line.strip() and not USUAL.match(line)]
        return lines[0] if lines else "—"


def main() -> None:
    """Run every case and print or write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write a document instead of printing")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bad-inputs-") as folder:
        table, failures = run_all(Path(folder))
    if chosen.write is None:
        print(table)
    else:
        chosen.write.write_text(f"{INTRODUCTION}\n{table}\n", encoding="utf-8")
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(bool(failures))


def run_all(root: Path) -> tuple[str, list[str]]:
    """The table of every case as Markdown, and what was not as expected."""
    make_base(root)
    made = _tell(Case("", "", "init desk --taxonomy labels.yaml", 0), root)
    if made.code != 0:
        sys.exit(made.err)
    rows = ["| input | command | exit | what is printed |", "|---|---|---|---|"]
    failures, section = [], ""
    for case in (case for make in ALL for case in make(root)):
        if case.as_owner and os.geteuid() == 0 and not shutil.which("setpriv"):
            print(f"left out, since root needs setpriv: {case.what}", file=sys.stderr)
            continue
        told = _tell(case, root)
        if case.section != section:
            section = case.section
            rows.append(f"| **{section}** | | | |")
        rows.append(_row(case, told, root))
        if told.code != case.code or "Traceback" in told.err:
            failures.append(f"{case.what}: expected exit {case.code}, got {told.code}:\n{told.err}")
    return "\n".join(rows), failures


def _row(case: Case, told: Told, root: Path) -> str:
    message = told.message.replace(f"{root.resolve()}/", "").replace(str(root.resolve()), ".")
    message = re.sub(r"([0-9a-f]{8})[0-9a-f]{56}", r"\1…", message)
    message = re.sub(r"\.draft-\w+", ".draft-…", re.sub(r"v0001-\w{8}", "v0001-…", message))
    cells = (case.what, f"`mailroom {case.command}`".replace(" `", "`"), str(told.code), message)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _tell(case: Case, root: Path) -> Told:
    command = [sys.executable, "-m", "mailroom", *shlex.split(case.command)]
    if case.as_owner and os.geteuid() == 0:
        command = [*AS_OWNER, *command]
    release = case.during() if case.during is not None else None
    process = subprocess.Popen(
        command,
        bufsize=0,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "COLUMNS": "200", **case.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=case.limit,
    )
    if case.interrupted and process.stdout is not None:
        # Nobody reads on, so the run cannot be over when the signal comes.
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(case.stdin, timeout=300)
    if release is not None:
        release()
    return Told(process.returncode, err.decode("utf-8", "replace"))


if __name__ == "__main__":
    main()
