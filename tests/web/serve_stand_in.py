"""`mailroom` as a process of its own, with the stand-in classifier of these tests: python -m … ARGUMENTS."""

import sys

from mailroom.cli import main
from mailroom.workspace import Workspace
from tests.web.conftest import hashing_classifier

if __name__ == "__main__":
    setattr(Workspace, "classifier", hashing_classifier)  # noqa: B010 - a type checker would object, rightly
    main(sys.argv[1:])
