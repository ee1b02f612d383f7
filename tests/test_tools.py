"""What people read of a topology: pictures, the schema, explanations, layout. Judged by parsers that are not ours."""

import json
import os
import pathlib
import pty
import shutil
import subprocess
import tomllib
import xml.etree.ElementTree as ElementTree

import jsonschema
import pydot
import pytest

from harness.server import BINARY

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "dataflow.toml"


def imflow(*arguments, cwd=ROOT, code=0, **kwargs):
    done = subprocess.run([BINARY, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=60, **kwargs)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The shipped topology with thirty more nodes, some of them under names that other languages misread."""
    names = [f"watch_{n}" for n in range(26)] + ["end", "graph", "名前", "a-b"]
    before = ["store.committed" if n % 3 == 0 else name for n, name in enumerate([""] + names)]
    tables = [
        f'[operators."{name}"]\nkind = "filter"\nwhere = "true"\ninputs = ["{above}"]\n'
        for name, above in zip(names, before)
    ]
    path = tmp_path_factory.mktemp("large") / "dataflow.toml"
    path.write_text(SHIPPED.read_text() + "\n" + "\n".join(tables))
    imflow("check", "--config", path)
    return path


# ---- pictures -------------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"


def boxes(svg):
    """Name and rectangle of each node."""
    for group in svg.iter(f"{SVG}g"):
        rectangle = group.find(f"{SVG}rect")
        x, y, width, height = (float(rectangle.get(key)) for key in ("x", "y", "width", "height"))
        yield group.find(f"{SVG}title").text.split(":")[0], (x, y, x + width, y + height)


@pytest.mark.parametrize("types", [[], ["--types"]])
def test_svg_is_xml_with_a_titled_box_for_each_node_and_none_covers_another(large, types):
    for path in (SHIPPED, large):
        svg = ElementTree.fromstring(imflow("graph", "--format", "svg", "--config", path, *types))
        topology = tomllib.loads(path.read_text())
        nodes = {name for family in ("sources", "operators", "sinks") for name in topology[family]}
        found = list(boxes(svg))
        assert {name for name, _ in found} == nodes
        width, height = float(svg.get("width")), float(svg.get("height"))
        for n, (name, (left, top, right, bottom)) in enumerate(found):
            assert 0 <= left < right <= width and 0 <= top < bottom <= height, name
            for other, (l, t, r, b) in found[:n]:
                assert right <= l or r <= left or bottom <= t or b <= top, f"{name} covers {other}"
        assert "prefers-color-scheme:dark" in svg.find(f"{SVG}style").text
        for path_element in svg.findall(f"{SVG}path[{SVG}title]"):
            assert path_element.find(f"{SVG}title").text, "each wire says from where to where"


def test_dot_is_dot(large):
    for path in (SHIPPED, large):
        dot = imflow("graph", "--format", "dot", "--types", "--config", path)
        (graph,) = pydot.graph_from_dot_data(dot)
        drawn = sum(len(group.get_nodes()) for group in graph.get_subgraphs())
        topology = tomllib.loads(path.read_text())
        assert drawn == sum(len(topology[family]) for family in ("sources", "operators", "sinks"))
        if shutil.which("dot"):
            subprocess.run(["dot", "-Tsvg"], input=dot, text=True, check=True, capture_output=True, timeout=60)


def test_the_terminal_picture_keeps_to_100_columns_and_is_plain_where_there_is_no_terminal(large):
    for path in (SHIPPED, large):
        for types in ([], ["--types"]):
            picture = imflow("graph", "--format", "terminal", "--config", path, *types)
            assert max(map(len, picture.splitlines())) <= 100
            assert "\x1b" not in picture and "╭─ sources ─" in picture


def on_a_terminal(*arguments, **environment):
    """What a program writes to a terminal."""
    main, side = pty.openpty()
    with subprocess.Popen([BINARY, *arguments], cwd=ROOT, stdout=side, env=os.environ | environment) as process:
        os.close(side)
        written = b""
        try:
            while piece := os.read(main, 65536):
                written += piece
        except OSError:
            pass  # Linux says EIO when the other side is closed.
        os.close(main)
    assert process.returncode == 0
    return written.decode()


def test_a_terminal_gets_the_terminal_picture_in_colour_unless_it_is_refused():
    picture = on_a_terminal("graph", NO_COLOR="")
    assert "╭" in picture and "\x1b[" in picture
    assert "\x1b[" not in on_a_terminal("graph", NO_COLOR="1")


def test_a_reader_that_has_seen_enough_is_no_failure():
    done = subprocess.run(f"{BINARY} schema | head -1", shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "{\n" and done.stderr == ""


# ---- the schema -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((ROOT / "docs/dataflow.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def mistakes(validator, text):
    return [(list(e.absolute_path), e.message) for e in validator.iter_errors(tomllib.loads(text))]


def test_the_schema_takes_the_shipped_file_and_every_example(validator):
    assert mistakes(validator, SHIPPED.read_text()) == []
    for family in ("sources", "operators", "sinks"):
        for kind in json.loads(imflow("explain", family, "--format", "json")):
            assert mistakes(validator, kind["example"]) == [], kind["kind"]


@pytest.mark.parametrize(
    "right, wrong, place",
    [
        ('debounce = "3s"', 'debounse = "3s"', ["operators", "online"]),
        ('kind = "validate"', 'kind = "valdate"', ["operators", "valid", "kind"]),
        ('retain = "7d"', 'retain = "7 years"', ["operators", "fresh", "retain"]),
        ("partitions = 64", "partitions = 0", ["service", "partitions"]),
        ('of = "store"', "", ["sinks", "followed"]),
        ("grants = [", "grant = [", ["operators", "allowed", "inputs"]),
        ("[service]", "[servics]", []),
    ],
)
def test_the_schema_marks_a_mistake_at_its_place(validator, right, wrong, place):
    text = SHIPPED.read_text()
    assert right in text
    found = mistakes(validator, text.replace(right, wrong, 1))
    assert any(path == place for path, _ in found), found


def test_the_schema_takes_variables_where_values_are_not_plain_text(validator):
    text = SHIPPED.read_text()
    text = text.replace('debounce = "3s"', 'debounce = "${DEBOUNCE:-3s}"').replace("partitions = 64", 'partitions = "${N:-64}"')
    assert mistakes(validator, text) == []


@pytest.fixture(scope="module")
def of_tests():
    schema = json.loads((ROOT / "docs/dataflow.test.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def test_the_schema_of_tests_takes_every_file_of_tests(of_tests):
    files = [ROOT / "dataflow.test.toml", *ROOT.glob("examples/*/dataflow.test.toml"), ROOT / "tests/scenarios/gateway.toml"]
    assert len(files) > 8
    for path in files:
        assert mistakes(of_tests, path.read_text()) == [], path


@pytest.mark.parametrize(
    "right, wrong, place",
    [
        ("[[test]]", "[[tests]]", []),
        ("steps = [", "step = [", ["test", 0]),
        ('at = "1s", into', 'at = "soon", into', ["test", 0, "steps", 2, "at"]),
        ("envelope = {", "envelop = {", ["test", 0, "steps", 2]),
        ('envelopes = [{ id = 1, ack', 'envelops = [{ id = 1, ack', ["test", 0, "expect", 0]),
        ("count = 1 }", 'count = "one" }', ["test", 0, "expect", 3, "count"]),
    ],
)
def test_the_schema_of_tests_marks_a_mistake_at_its_place(of_tests, right, wrong, place):
    text = (ROOT / "dataflow.test.toml").read_text()
    assert right in text
    found = mistakes(of_tests, text.replace(right, wrong, 1))
    assert any(path == place for path, _ in found), found


# ---- words ----------------------------------------------------------------------------------------


def test_list_and_explain_agree():
    kinds = json.loads(imflow("list", "--json"))
    for kind in kinds:
        explained = json.loads(imflow("explain", kind["name"], "--format", "json"))
        explained = explained if isinstance(explained, list) else [explained]
        assert kind["summary"] in {one["summary"] for one in explained}


def test_an_unknown_word_is_a_mistake_of_the_command_line():
    assert "did you mean `Committed`?" in imflow("explain", "Commited", code=2)


# ---- layout ---------------------------------------------------------------------------------------


def test_the_files_of_the_repository_are_laid_out():
    files = [SHIPPED, *ROOT.glob("examples/**/*.toml")]
    imflow("fmt", "--check", *files)


def test_fmt_names_what_it_would_change_then_changes_it_and_keeps_comments(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("# why\n[service]\nnode='n'   # who\n\n\n\npartitions=1")
    assert str(path) in imflow("fmt", "--check", path, code=1)
    imflow("fmt", path)
    assert path.read_text() == "# why\n[service]\nnode = 'n'                            # who\n\npartitions = 1\n"
    imflow("fmt", "--check", path)
    assert imflow("fmt", "-", input="a=1") == "a = 1\n"


def test_fmt_leaves_a_file_that_is_not_toml_and_says_where(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("a = \n")
    assert f"{path}:1:" in imflow("fmt", path, code=78)
    assert path.read_text() == "a = \n"
