"""`python -m mailroom` is `mailroom`."""

from mailroom.cli import main

main()
