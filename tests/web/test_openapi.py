"""The service held to its own OpenAPI document by schemathesis: no 5xx, nothing that it denies."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import pytest

from mailroom.store.keys import ApiKeys
from mailroom.workspace import Workspace
from tests.web.conftest import Start

PROGRAM = shutil.which("schemathesis", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
# Bodies of kinds that it does not know: as they are.
HOOKS = """
import schemathesis

def plain(context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")

for media_type in ("message/rfc822", "application/x-ndjson"):
    schemathesis.serializer(media_type)(plain)
"""
SECONDS = 300


# A message may be any bytes, so that whether one should have been taken is not the document's to say.
TAKE_BYTES = "^/v1/classify"
CONFORMANCE = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
)


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="needs schemathesis")
@pytest.mark.parametrize(
    "chosen",
    [
        ["--exclude-path-regex", TAKE_BYTES, "--checks", "all"],
        ["--include-path-regex", TAKE_BYTES, "--checks", CONFORMANCE],
    ],
    ids=["what takes JSON", "what takes bytes"],
)
def test_the_service_does_what_its_openapi_document_says(
    start: Start, root: Path, tmp_path: Path, chosen: list[str]
) -> None:
    settings = root / "mailroom.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("max_body_bytes = 4096", "max_body_bytes = 1048576"), encoding="utf-8")
    with Workspace.open(root) as workspace:
        _, token = ApiKeys(workspace.database).create("fuzz", {"admin"}, "test")
    _, address = start()
    headers = {"Authorization": f"Bearer {token}"}
    for number in range(5):
        email = {"id": f"{number}@example.org", "subject": "Lost parcel"}
        assert httpx.post(f"{address}/v1/classify", json=email, headers=headers).status_code == 200
    document = tmp_path / "openapi.json"
    document.write_text(httpx.get(f"{address}/v1/openapi.json", headers=headers).text, encoding="utf-8")
    assert json.loads(document.read_text(encoding="utf-8"))["openapi"].startswith("3.1")
    (tmp_path / "hooks.py").write_text(HOOKS, encoding="utf-8")
    command = [str(PROGRAM), "run", str(document), "--url", address, "-H", f"Authorization: Bearer {token}"]
    options = ["--max-examples", "20", "--seed", "7", "--phases", "examples,coverage,fuzzing", "--no-color"]
    done = subprocess.run(
        [*command, *options, *chosen],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    # Lines hold whole bodies, which are long.
    said = "\n".join(line[:400] for line in (done.stdout + done.stderr).splitlines() if line.strip())
    assert done.returncode == 0, said
