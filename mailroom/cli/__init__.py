"""The command line: one thin command a use case, data on stdout, everything else on stderr.

Heavy modules are imported inside the commands, so that `mailroom --help` answers at once.
"""

from mailroom.cli.app import main

__all__ = ["main"]
