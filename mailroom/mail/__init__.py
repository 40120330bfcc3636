"""Bytes → Email: sources stream raw messages, parsing decodes them, cleaning keeps what the writer wrote."""
