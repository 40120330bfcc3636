"""Who sits at the keyboard, as promotions and feedback name people."""

import getpass
import os


def current_user() -> str:
    """Who runs this; a container's user often has a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
