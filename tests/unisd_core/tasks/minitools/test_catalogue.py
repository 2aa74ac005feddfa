import random
import re

import pytest

from unisd_core.tasks.minitools.catalogue import DOMAINS, TOOLS, UNSEEN, siblings
from unisd_core.tasks.minitools.parameters import Parameter, date, number
from unisd_core.tasks.minitools.phrasing import draw_call, fill, two_requests
from unisd_core.tasks.minitools.tools import Tool
from unisd_core.tasks.reading.call import Call

ALL = sorted(TOOLS)


def test_size_and_spread() -> None:
    assert len(TOOLS) == sum(len(tools) for tools in DOMAINS.values()) >= 40
    assert len(DOMAINS) == 8
    assert len(UNSEEN) >= 8
    for tools in DOMAINS.values():
        assert any(tool.name in UNSEEN for tool in tools)


def test_every_kind_of_argument_is_known_from_training() -> None:
    def kinds(names: set[str]) -> set[tuple[str, bool]]:
        return {(p.kind, p.optional) for name in names for p in TOOLS[name].parameters}

    seen = {kind for kind, _ in kinds(set(TOOLS) - UNSEEN)}
    assert seen == {"string", "integer", "number", "boolean", "enum", "date", "time"}
    assert {kind for kind, _ in kinds(set(UNSEEN))} <= seen


def test_siblings_are_of_the_domain_and_never_held_out() -> None:
    for name in ALL:
        others = {tool.name for tool in siblings(name)}
        assert name not in others
        assert not others & UNSEEN
        assert len(others) >= 4


@pytest.mark.parametrize("name", ALL)
def test_every_request_says_every_argument_once(name: str) -> None:
    tool = TOOLS[name]
    required = {p.name for p in tool.parameters if not p.optional}
    extras = {p.name for p in tool.parameters if p.optional}
    assert required
    assert len(tool.requests) >= 3
    for sentence in tool.requests:
        brackets = re.findall(r"\[([^\]]*)\]", sentence)
        outside = re.sub(r"\[[^\]]*\]", "", sentence)
        assert sorted(re.findall(r"\{(\w+)", outside)) == sorted(required), sentence
        inside = [re.findall(r"\{(\w+)", part) for part in brackets]
        assert sorted(inside) == sorted([extra] for extra in extras), sentence
    if tool.clause:
        assert "[" not in tool.clause
        assert sorted(re.findall(r"\{(\w+)", tool.clause)) == sorted(required)


@pytest.mark.parametrize("name", ALL)
def test_booleans_have_words_and_only_booleans(name: str) -> None:
    tool = TOOLS[name]
    kinds = {p.name: p.kind for p in tool.parameters}
    for sentence in (*tool.requests, tool.clause):
        for slot, words in re.findall(r"\{(\w+)((?:\|[^}]*)?)\}", sentence):
            assert bool(words) == (kinds[slot] == "boolean"), sentence
            if words:
                _, if_true, if_false = words.split("|")
                assert if_true != if_false


TOY = Tool(
    "toy",
    (date("day"), Parameter("loud", "boolean", optional=True)),
    ("Go on {day}[, {loud|loud|soft}]!",),
    clause="go on {day}",
)


def test_an_optional_part_is_said_only_for_its_argument() -> None:
    rng = random.Random(0)
    for loud, words in ((True, ", loud"), (False, ", soft")):
        call = Call("toy", {"day": "2026-03-05", "loud": loud})
        assert fill("{loud|a|b}", TOY, call, rng) == ("a" if loud else "b")
        assert f"{words}!" in fill(TOY.requests[0], TOY, call, rng)
    bare = fill(TOY.requests[0], TOY, Call("toy", {"day": "2026-03-05"}), rng)
    assert bare in ("Go on 2026-03-05!", "Go on March 5, 2026!")


def test_about_a_fifth_of_the_dates_is_said_in_words() -> None:
    rng = random.Random(0)
    said = [date("day").say("2026-03-05", rng) for _ in range(2000)]
    assert set(said) == {"2026-03-05", "March 5, 2026"}
    assert 0.15 < said.count("March 5, 2026") / 2000 < 0.25


def test_numbers_are_never_whole_and_print_with_one_decimal() -> None:
    rng = random.Random(0)
    for _ in range(1000):
        value = number("n", 2, 90).draw(rng)
        assert isinstance(value, float)
        assert 2 < value < 90
        assert re.fullmatch(r"\d+\.[1-9]", repr(value))


def test_optional_arguments_are_sometimes_drawn_and_required_ones_always() -> None:
    rng = random.Random(0)
    drawn = [draw_call(TOY, rng).arguments for _ in range(400)]
    assert all("day" in arguments for arguments in drawn)
    assert 0.25 < sum("loud" in arguments for arguments in drawn) / 400 < 0.45


def test_two_requests_ask_for_two_different_calls_in_order() -> None:
    rng = random.Random(0)
    lamp = TOOLS["set_lamp"]
    for _ in range(200):
        calls, request = two_requests(lamp, lamp, rng)
        assert calls[0] != calls[1]
        first, second = re.split(r",? (?:and )?then ", request)
        assert calls[0].arguments["room"] in first
        assert calls[1].arguments["room"] in second
        assert request[0].isupper()
