"""Reading YAML, JSON and CSV, and what is said about files that cannot be read."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.errors import TaxonomyError
from mailroom.taxonomy import Taxonomy, load_taxonomy, to_yaml

DATA = Path(os.environ.get("MAILROOM_DATA", Path(__file__).parents[2] / "shared" / "data"))


def load(folder: Path, content: str | bytes, name: str = "labels.txt") -> Taxonomy:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_taxonomy(path)


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(TaxonomyError) as caught:
        load(folder, content)
    return str(caught.value).replace(f"{folder / 'labels.txt'}", "FILE")


FLAT = {"labels": [{"id": "a_b", "path": ["X", "a_b"]}, {"id": "c", "path": ["X", "c"], "n_train": 4}]}
NESTED = "- id: X\n  name: X\n  children:\n  - {id: a_b, name: a b}\n  - c\n"


@pytest.mark.parametrize(
    "content",
    [
        NESTED,
        "labels:\n" + NESTED,
        json.dumps(FLAT),
        json.dumps(FLAT["labels"], indent=2),
        "- {id: a_b, path: [X, a_b]}\n- {id: c, path: [X, c]}\n",
        "{labels: [{id: a_b, path: [X, a_b]}, {id: c, path: [X, c]},]}",
        "id,path\na_b,X > a_b\nc,X > c\n",
        "\ufeffid;path;n\r\na_b;X/a_b;4\r\n\r\nc;X/c;5\r\n",
        'Path\tId\n"X > a_b"\ta_b\n"X > c"\tc\n',
        json.dumps({"labels": [{"id": "X", "children": [{"id": "a_b"}, {"id": "c"}]}]}),
    ],
    ids=[
        "yaml-list",
        "yaml",
        "json",
        "json-list",
        "yaml-flat",
        "flow",
        "csv",
        "csv-bom",
        "tsv",
        "json-nested",
    ],
)
def test_every_form_of_one_tree_has_one_revision(tmp_path: Path, content: str) -> None:
    taxonomy = load(tmp_path, content)
    assert [(label.id, label.name, label.assignable) for label in taxonomy.labels] == [
        ("X", "X", False),
        ("a_b", "a b", True),
        ("c", "c", True),
    ]
    assert taxonomy.revision == load(tmp_path, NESTED).revision


def test_label_may_be_a_leaf_and_a_prefix_in_any_order(tmp_path: Path) -> None:
    rows = [{"id": "deep", "path": ["A", "B", "C"]}, {"id": "mid", "path": ["A", "B"], "description": "d"}]
    for labels in (rows, rows[::-1]):
        taxonomy = load(tmp_path, json.dumps({"labels": labels}))
        assert [label.id for label in taxonomy.labels] == ["A", "mid", "deep"]
        assert taxonomy["mid"].assignable
        assert taxonomy["mid"].description == "d"
        assert taxonomy["deep"].parent == "mid"
        assert taxonomy["mid"].line == 1


def test_made_inner_node_leaves_a_described_label_its_id(tmp_path: Path) -> None:
    taxonomy = load(tmp_path, json.dumps([{"id": "x", "path": ["A", "x"]}, {"id": "A", "path": ["B", "A"]}]))
    assert taxonomy["A"].path == ("B", "A")
    assert taxonomy["x"].parent == "A (2)"


def test_json_labels_know_their_line(tmp_path: Path) -> None:
    taxonomy = load(tmp_path, json.dumps(FLAT, indent=1))
    assert [label.line for label in taxonomy.assignable] == [3, 10]


def test_scalars_stay_the_text_that_was_written(tmp_path: Path) -> None:
    taxonomy = load(tmp_path, "- No\n- 2024-01-01\n- 0x1F\n- name: 'null'\n- {id: 12, description: ~}\n")
    assert [label.name for label in taxonomy.labels] == ["No", "2024-01-01", "0x1F", "null", "12"]


def test_csv_reads_lists_and_flags(tmp_path: Path) -> None:
    table = 'id,path,examples,overlaps,assignable\na,G/a,"one|two",b,yes\nb,G/b,"three\nfour",,no\n'
    taxonomy = load(tmp_path, table)
    assert taxonomy["a"].examples == ("one", "two")
    assert taxonomy["b"].examples == ("three", "four")
    assert taxonomy["a"].overlaps == ("b",)
    assert not taxonomy["b"].assignable


def test_non_latin_names_get_ids(tmp_path: Path) -> None:
    assert load(tmp_path, "- 请求\n- Übersicht Kosten\n").assignable[0].id == "请求"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "FILE: expected a list of labels, got an empty file"),
        ("\n  \n", "FILE: expected a list of labels, got an empty file"),
        ("# only a comment\n", "FILE: expected a list of labels, got an empty file"),
        ("labels:\n", "FILE: expected a list of labels, got an empty file"),
        ("just words", "FILE:1: expected a list of labels"),
        ("hello,world\n1,2\n", "or a table whose header has `id` or `path`"),
        ('{"foo": 1}', "FILE:1: expected `labels` with a list of labels, got none"),
        ("labels: text", "FILE:1: expected a list of labels"),
        ("label:\n  - a\n", "unknown key 'label' in a top level; did you mean 'labels'?"),
        (b"- caf\xe9\n", "FILE:1: expected UTF-8, got the byte 0xe9"),
        ("- a\n- id: (outside)\n  name: b\n", "FILE:2: id '(outside)' stands for mail that no label fits"),
        ("- a\n- b\n- a\n", "FILE:3: id 'a' is already taken (line 1)"),
        ("- name: a\n  overlap: [b]\n", "FILE:2: unknown key 'overlap' in a label; did you mean 'overlaps'?"),
        ("- name: a\n  overlaps: [refnud]\n- refund", "did you mean 'refund'?"),
        ("- name: a\n  overlaps: [a]\n", "FILE:1: 'a' overlaps with itself"),
        ("- name: a\n  children: [{name: b, overlaps: [a]}]\n", "one of them stands above the other"),
        ("- name: a\n  overlaps: [b]\n  children: [b]\n", "one of them stands above the other"),
        ("- name: ''\n", "FILE:1: name: expected at least one word, got an empty name"),
        ("- id: x\n  name: '  '\n", "FILE:2: name: expected at least one word"),
        ("- {}\n", "FILE:1: expected a label with a `name` or an `id`"),
        ("- '!!!'\n", "has no letter to make an id of"),
        ("- [a]\n", "FILE:1: expected a label"),
        ("- name: [a]\n", "FILE:1: name: expected a text, got a list"),
        ("- name: a\n  examples: {b: c}\n", "FILE:2: examples: expected a list of texts, got a mapping"),
        ("- name: a\n  examples: [[b]]\n", "examples: expected a text, got a list"),
        ("- name: a\n  assignable: maybe\n", "assignable: expected true or false, got 'maybe'"),
        ("- name: a\n  name: b\n", "FILE:2: key 'name' stands here twice"),
        ("- name: a\n  children: b\n", "FILE:2: children: expected a list of labels"),
        ("- name: a\n  assignable: false\n", "expected at least one assignable label"),
        ("- a: b: c\n", "FILE:1: expected YAML, got: mapping values are not allowed"),
        ("- name: a\n\tid: b\n", "FILE:2: expected YAML"),
        ("- a\x00b\n", "expected YAML"),
        ("- &x [*x]\n", "FILE:1: aliases (*x) are not read here"),
        ("a: &a [x, x]\nb: &b [*a, *a]\n", "FILE:2: aliases (*a) are not read here"),
        ("- a\n--- \n- b\n", "FILE:2: expected one YAML document"),
        ("? [a]\n: b\n", "FILE:1: expected a word as key"),
        ('{"labels": [{"id": "a"\n', "FILE:2: expected JSON"),
        ('{"labels": [{"id": 1, "path": [""]}]}', "path: expected a list of names, got an empty one"),
        ('{"labels": [{"id": "a", "path": []}]}', "path: expected a list of names, got an empty one"),
        ('{"labels": [{"path": {"a": 1}}]}', "path: expected a list of texts, got a mapping"),
        ('{"labels": [{"path": ["a"]}, {"n": 1}]}', "expected a label with an `id` or a `path`, got neither"),
        ('{"labels": [{"path": ["a"]}, "b"]}', "expected a label with `id` and `path`"),
        ("id,path\na,b,c\n", "FILE:2: expected 2 cells as in the header, got 3"),
        ("id,path\n", "expected at least one assignable label"),
        ('id,path\n"a,b\n', "FILE:2: expected a table with ',' between cells, got: unexpected end"),
        ("- " * 1000 + "a", "nesting, got more"),
        ("[" * 1000 + "]" * 1000, "nesting, got more"),
        ("[" * 100_000 + "]" * 100_000, "nesting, got more"),
        ('{"labels": [{"path": ' + json.dumps(["x"] * 1000) + "}]}", "at most 32 levels, got 1000"),
        ("- id: " + "x" * 501, "id: expected at most 500 characters, got 501"),
    ],
)  # fmt: skip
def test_unusable_files_are_refused_with_their_line(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert said in refusal(tmp_path, content)


def test_deeply_nested_labels_are_refused_at_their_line(tmp_path: Path) -> None:
    lines = "".join(f"{'  ' * depth}- name: n{depth}\n{'  ' * depth}  children:\n" for depth in range(1000))
    assert "levels" in refusal(tmp_path, lines + "  " * 1000 + "- leaf\n")
    shallow = "".join(f"{'  ' * depth}- name: n{depth}\n{'  ' * depth}  children:\n" for depth in range(31))
    assert len(load(tmp_path, shallow + "  " * 31 + "- leaf\n")) == 32


def test_all_problems_are_listed_at_once_but_twenty_at_most(tmp_path: Path) -> None:
    said = refusal(tmp_path, "".join(f"- {{name: n{i}, typo: x}}\n" for i in range(30)))
    lines = said.splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("FILE:1: unknown key 'typo'")
    assert lines[-1] == "FILE: and 10 more"


def test_problems_of_form_and_of_content_are_listed_together(tmp_path: Path) -> None:
    said = refusal(
        tmp_path, "- name: a\n  descripton: x\n- b\n- b\n- name: ''\n- {}\n- {name: c, overlaps: [d]}\n"
    )
    assert [line.split(": ")[0] for line in said.splitlines()] == [f"FILE:{n}" for n in (2, 4, 5, 6, 7)]


def test_huge_file_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    with pytest.raises(TaxonomyError, match="at most 32 MiB"):
        load_taxonomy(path)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_missing_file_and_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TaxonomyError, match="expected a"):
        load_taxonomy(tmp_path / name)


# Texts as people write them and as they should not: everything that can stand in a JSON string.
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.sampled_from(
    ["No", "null", "~", "1.0", "- a", "a: b", "#x", "&a", "*a", "a\nb", "\x85", "\u2028", "'", '"', "\ud800x"]
)


@st.composite
def flat_labels(draw: st.DrawFn) -> list[dict[str, Any]]:
    count = draw(st.integers(1, 8))
    names = st.lists(
        st.sampled_from(["Billing", "refund_late", "X", "No", "12"]) | TEXTS, min_size=1, max_size=4
    )
    return [
        {
            "id": f"label-{index}",
            "path": draw(names),
            "description": draw(TEXTS | st.just("")),
            "examples": draw(st.lists(TEXTS, max_size=3)),
            "aliases": draw(st.lists(TEXTS, max_size=2)),
        }
        for index in range(count)
    ]


@given(flat_labels())
def test_yaml_written_for_people_keeps_the_revision(
    tmp_path_factory: pytest.TempPathFactory, labels: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        taxonomy = load(folder, json.dumps(labels))
    except TaxonomyError as exc:
        assert "path: expected a list of names" in str(exc)  # noqa: PT017 - names of control characters only
        return
    again = load(folder, to_yaml(taxonomy))
    assert again.labels == taxonomy.labels
    assert again.revision == taxonomy.revision


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["labels", "id", "name", "path", "children", "examples", "overlaps", "assignable"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.text(max_size=60) | st.binary(max_size=60) | JSON_VALUES.map(json.dumps))
def test_any_content_is_a_taxonomy_or_a_taxonomy_error(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        taxonomy = load(folder, content)
    except TaxonomyError as exc:
        assert "labels.txt" in str(exc)  # noqa: PT017 - either outcome is right
        return
    assert taxonomy.assignable
    assert load(folder, to_yaml(taxonomy)).revision == taxonomy.revision


@pytest.mark.corpus
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared corpora are not here")
@pytest.mark.parametrize(
    ("corpus", "count"),
    [("20news", 20), ("bitext", 27), ("cfpb", 299), ("clinc150", 150), ("multilang_tickets", 40)],
)
def test_corpus_taxonomies_load_and_survive_conversion(tmp_path: Path, corpus: str, count: int) -> None:
    path = DATA / corpus / "taxonomy.json"
    taxonomy = load_taxonomy(path)
    rows = json.loads(path.read_text(encoding="utf-8"))["labels"]
    assert len(taxonomy.assignable) == count == len(rows)
    for row in rows:
        assert (found := taxonomy.resolve(" > ".join(row["path"]))) is not None
        assert found.id == row["id"]
    assert load(tmp_path, to_yaml(taxonomy)).revision == taxonomy.revision


def test_time_to_load_does_not_grow_with_the_square_of_the_labels(tmp_path: Path) -> None:
    label = "  - id: g{0}-l{1}\n    name: Label {0} {1}\n    description: of {1}\n    examples: [a, b]\n"
    groups = (
        f"- name: Group {group}\n  children:\n" + "".join(label.format(group, i) for i in range(50))
        for group in range(100)
    )
    content = "".join(groups)
    started = time.process_time()
    taxonomy = load(tmp_path, content)
    assert len(taxonomy.assignable) == 5000
    # Half a second; minutes where every label is compared with every other.
    assert time.process_time() - started < 5.0


def test_labelled_mail_is_told_from_a_label_tree(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text('{"subject": "Hi", "body": "Where is it?", "label": "lost"}\n' * 2, encoding="utf-8")
    with pytest.raises(TaxonomyError, match="got rows of labelled mail") as caught:
        load_taxonomy(path)
    assert "feedback import" in str(caught.value)
    tree = tmp_path / "tree.json"
    tree.write_text('{"labels": [{"id": "lost"}]}', encoding="utf-8")
    assert [label.id for label in load_taxonomy(tree).assignable] == ["lost"]
