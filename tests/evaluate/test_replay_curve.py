import xml.etree.ElementTree as ElementTree

from mailroom.evaluate.replay_curve import Bound, WeekFigures, replay_svg, replay_table

WEEKS = [
    WeekFigures(0, 0, 0, "", "v0001-a", 0.7, 0.9),
    WeekFigures(1, 100, 6, "promoted", "v0002-b", 0.8, 0.95, 0.71, 10, 0.9, 1.5),
    WeekFigures(2, 100, 12, "nothing_new", "v0002-b", 0.8, 0.95, 0.79),
]
BOUND = Bound(200, 0.9, 0.99, 3.0)


def test_the_table_has_a_row_a_week_and_the_bound() -> None:
    lines = replay_table(WEEKS, BOUND).splitlines()
    assert len(lines) == 2 + len(WEEKS) + 1
    assert len({line.count("|") for line in lines}) == 1
    assert lines[3] == "| 1 | 100 | 6 | promoted | 80.0% | 95.0% | 71.0% | 10 | 90.0% | 1.5 |"
    assert lines[-1].startswith("| all labels at once | | 200 |")
    assert len(replay_table(WEEKS, None).splitlines()) == len(lines) - 1


def test_the_picture_is_one_self_contained_file_that_escapes_its_title() -> None:
    picture = replay_svg(WEEKS, BOUND, "<script>alert(1)</script> & more")
    root = ElementTree.fromstring(picture)
    assert "<script" not in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    circles = [found for found in root.iter() if found.tag.endswith("circle")]
    assert len(circles) == 2 * len(WEEKS)
    hollow = [circle for circle in circles if "refused" in circle.get("class", "")]
    assert len(hollow) == 2
    assert sum("bound" in found.get("class", "") for found in root.iter()) == 2


def test_higher_shares_stand_higher() -> None:
    root = ElementTree.fromstring(replay_svg(WEEKS, None, "t"))
    heights = [float(c.get("cy", "0")) for c in root.iter() if c.tag.endswith("circle")]
    assert heights[0] > heights[1] == heights[2]
    assert all(0 <= height <= 400 for height in heights)
