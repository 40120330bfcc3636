"""JSON-ready values → bytes; text that UTF-8 cannot express is escaped, since mail may hold it."""

import json
from typing import Any

from starlette.responses import Response


def to_json(value: Any) -> bytes:
    """One value as UTF-8 JSON on one line."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


class JsonResponse(Response):
    """An answer in JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Serialise the content."""
        return to_json(content)
