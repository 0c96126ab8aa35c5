"""Pictures of graphs: everything is on them, nothing lies on something else, and any name can be drawn."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.display.graph import DOWN, FORMATS, HIGH, PASSES, Node, _laid_out, drawn
from weft.errors import CycleError

TEXT = st.text()


@st.composite
def graphs(draw):
    count = draw(st.integers(0, 12))
    nodes = []
    for number in range(count):
        deps = draw(st.sets(st.integers(0, max(number - 1, 0)), max_size=3)) if number else set()
        status = st.sampled_from(["success", "failure", "any"])
        nodes.append(
            Node(
                f"k{number}",
                draw(TEXT),
                draw(st.none() | st.integers(0, 1000)),
                draw(st.sampled_from(["", "succeeded", "failed", "running", "wanted"])),
                {f"k{dep}": draw(status) for dep in sorted(deps)},
            )
        )
    return nodes


@given(graphs())
def test_every_job_and_every_edge_is_in_the_picture(nodes):
    root = ElementTree.fromstring(drawn(nodes, "svg"))
    space = "{http://www.w3.org/2000/svg}"
    titles = [title.text or "" for title in root.iter(f"{space}title")]
    edges = sum(len(node.after) for node in nodes)
    assert len(root.findall(f"{space}path")) == edges
    assert len(titles) == edges + len(nodes)
    for title, node in zip(titles[edges:], nodes, strict=True):
        assert node.name.isprintable() <= (title == node.name)


@given(graphs())
def test_everything_lies_in_the_picture(nodes):
    picture = drawn(nodes, "svg")
    root = ElementTree.fromstring(picture)
    width, height = float(root.get("width")), float(root.get("height"))
    space = "{http://www.w3.org/2000/svg}"
    for path in root.findall(f"{space}path"):
        numbers = [float(number) for number in re.findall(r"\d+", path.get("d"))]
        assert max(numbers[::2]) <= width
        assert max(numbers[1::2]) <= height
    for box in root.findall(f"{space}rect"):
        assert float(box.get("x", 0)) + float(box.get("width")) <= width
        assert float(box.get("y", 0)) + float(box.get("height")) <= height


@given(graphs())
def test_boxes_do_not_touch_and_lie_below_what_they_come_after(nodes):
    boxes, passes = _laid_out(nodes)
    rows = {}
    for node in nodes:
        box = boxes[node.key]
        assert box.x >= 0
        assert all(boxes[dep].y < box.y for dep in node.after)
        rows.setdefault(box.y, []).append(box)
        for dep in node.after:  # a line has a place in each row that it passes
            stops = [boxes[dep].y, *(there.y for there in passes.get((dep, node.key), ())), box.y]
            assert {lower - upper for upper, lower in pairwise(stops)} == {HIGH + DOWN}
    for line in passes.values():
        for there in line:
            rows[there.y].append(there)
    for row in rows.values():
        row.sort()
        assert all(left.x + left.wide < right.x for left, right in pairwise(row))


@given(graphs())
def test_mermaid_and_graphviz_have_a_line_for_each_job_and_edge(nodes):
    edges = sum(len(node.after) for node in nodes)
    mermaid, dot = drawn(nodes, "mmd"), drawn(nodes, "dot")
    assert len(mermaid.splitlines()) >= 1 + len(nodes) + edges
    assert len(re.findall(r"^  n\d+ (?:-->|-\. \w+ \.->) n\d+$", mermaid, re.MULTILINE)) == edges
    assert len(re.findall(r'^  "k\d+" -> "k\d+"', dot, re.MULTILINE)) == edges


def test_a_small_graph_is_drawn_as_text():
    nodes = [
        Node("a", "a b", 3, "succeeded"),
        Node("b", 'say "x" & <y>', None, "failed", {"a": "success"}),
        Node("c", "c", None, "", {"b": "failure", "a": "any"}),
    ]
    assert drawn(nodes, "mmd") == (
        "flowchart TD\n"
        '  n0["a b x 3<br/>succeeded"]\n'
        '  n1["say &quot;x&quot; &amp; &lt;y&gt;<br/>failed"]\n'
        '  n2["c"]\n'
        "  n0 --> n1\n"
        "  n1 -. failure .-> n2\n"
        "  n0 -. any .-> n2\n"
    )
    dot = drawn(nodes, "dot")
    assert '"b" [label="say \\"x\\" & <y>\\nfailed"' in dot
    assert '"b" -> "c" [style=dashed, label=failure];' in dot
    assert '"a" -> "c" [style=dotted, label=any];' in dot
    svg = drawn(nodes, "svg")
    assert svg.count('stroke-dasharray="6 3"') == svg.count('stroke-dasharray="2 3"') == 1


@pytest.mark.parametrize("how", FORMATS)
def test_a_thousand_jobs_in_a_chain_are_drawn(how):
    nodes = [
        Node(f"k{number}", f"job {number}", None, "", {f"k{number - 1}": "success"} if number else {})
        for number in range(1000)
    ]
    assert drawn(nodes, how).count("job 999")


def test_a_graph_with_more_long_lines_than_can_have_a_place_is_drawn_all_the_same():
    nodes = [Node("k0", "0")]
    for number in range(1, 300):
        nodes.append(Node(f"k{number}", "x", after={f"k{number - 1}": "success", "k0": "success"}))
    assert sum(range(298)) > PASSES
    assert drawn(nodes, "svg").count("<path") == 1 + 299 + 298


def test_a_circle_is_refused():
    with pytest.raises(CycleError):
        drawn([Node("a", "a", after={"b": "success"}), Node("b", "b", after={"a": "success"})], "svg")
