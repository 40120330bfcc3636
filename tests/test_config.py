import tomllib
from pathlib import Path

import pytest

from mailroom.config import (
    Settings,
    find_workspace,
    iter_settings,
    load_settings,
    render_toml,
    settings_or_defaults,
)
from mailroom.errors import ConfigError

DOCS = Path(__file__).parent.parent / "docs" / "settings.md"


def write(folder: Path, text: str) -> Path:
    path = folder / "mailroom.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_rendered_defaults_are_the_defaults(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, render_toml({}))) == Settings()


def test_rendered_values_survive_quoting(tmp_path: Path) -> None:
    path = write(tmp_path, render_toml({"taxonomy": 'a "b" \\ c.yaml', "classify.top_k": 7}))
    settings = load_settings(path)
    assert (settings.taxonomy, settings.classify.top_k) == ('a "b" \\ c.yaml', 7)


def test_every_setting_is_documented_with_its_default() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name, default, help_line in iter_settings():
        shown = tomllib.loads(render_toml({name: default}))
        assert shown
        assert f"`{name}`" in text, f"docs/settings.md misses {name}"
        assert help_line in text, f"docs/settings.md has another help line for {name}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classify = 3", "expected a section"),
        ("[classify]\ntop_q = 3", "did you mean classify.top_k"),
        ("[classify]\ntop_k = 'many'", "expected int, got 'many'"),
        ("[classify]\ntop_k = true", "expected int, got True"),
        ("[classify]\ntop_k = 0", "1 to 1000"),
        ("[mail]\nmax_depth = 1000", "1 to 100"),
        ("[store]\nkeep_text = 1", "expected bool, got 1"),
        (
            "[learning]\ntrain_cross_encoder = 'maybe'",
            "expected one of auto, always, never, got 'maybe'",
        ),
        ("not toml", "expected TOML"),
        ("nonsense = 1", "unknown setting nonsense"),
    ],
)
def test_an_unusable_setting_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(write(tmp_path, text))


def test_a_whole_number_serves_as_a_share(tmp_path: Path) -> None:
    path = write(tmp_path, "[classify]\nreview_below_probability = 1")
    assert load_settings(path).classify.review_below_probability == 1.0


def test_bytes_that_are_no_text_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mailroom.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="expected TOML"):
        load_settings(path)


def test_the_nearest_workspace_upward_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILROOM_WORKSPACE", raising=False)
    write(tmp_path, "")
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_workspace(None, deep) == tmp_path.resolve()


def test_the_environment_names_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "")
    monkeypatch.setenv("MAILROOM_WORKSPACE", str(tmp_path))
    assert find_workspace(None, Path("/")) == tmp_path.resolve()


def test_a_named_folder_without_a_workspace_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a workspace"):
        find_workspace(tmp_path)
    with pytest.raises(ConfigError, match="expected a workspace"):
        settings_or_defaults(tmp_path)


def test_without_any_workspace_the_defaults_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILROOM_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert settings_or_defaults(None) == Settings()
    with pytest.raises(ConfigError, match="mailroom init"):
        find_workspace(None)
