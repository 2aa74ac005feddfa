"""Timeline: the times at which each stage was at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from unisd_core.reporting.page.run_files import RunRecord, is_number
from unisd_core.reporting.page.svg import Scale, across, colour, drawing, element, figure, text
from unisd_core.reporting.spans import Span, busy_seconds, merged

STAGES = ("generate", "score", "learn", "push")
WIDTH, LEFT, RIGHT, TOP, LANE = 1100, 150, 10, 14, 30
CLOSE_STEPS = 8
"""Steps in the closer view of a run that has several times as many."""


def stage_times(run: RunRecord) -> dict[str, list[Span]]:
    """Unix times between which each stage worked, without overlap; of runs that did not record them
    only the learner's are known."""
    times: dict[str, list[Span]] = {stage: [] for stage in STAGES}
    for line in run.metrics:
        recorded = line.get("spans")
        if isinstance(recorded, dict):
            for stage in STAGES:
                times[stage] += _spans(recorded.get(stage))
        elif is_number(line.get("unix_time")) and is_number(line.get("seconds_learn")):
            times["learn"].append((line["unix_time"] - line["seconds_learn"], line["unix_time"]))
    return {stage: merged(spans) for stage, spans in times.items() if spans}


def timeline(run: RunRecord) -> list[Markup]:
    """The whole run and, where it is long, a few steps from its middle."""
    times = stage_times(run)
    if not times:
        return []
    begin = min(spans[0][0] for spans in times.values())
    end = max(spans[-1][1] for spans in times.values())
    note = (
        "A bar is work, a gap is idle time; stages overlap. Marks above are incidents."
        if len(times) > 1
        else "This run recorded the learner's times only; where there is no bar it waits for rows."
    )
    drawn = [_lanes("Timeline", note, times, run.incidents, (begin, end), begin)]
    ends = [line["unix_time"] for line in run.metrics if is_number(line.get("unix_time"))]
    if len(ends) > 3 * CLOSE_STEPS:
        first = (len(ends) - CLOSE_STEPS) // 2
        window = ends[first], ends[first + CLOSE_STEPS]
        title = f"{CLOSE_STEPS} steps from the middle"
        if window[0] < window[1]:
            drawn.append(_lanes(title, "", times, run.incidents, window, begin))
    return drawn


def _spans(recorded: object) -> list[Span]:
    if not isinstance(recorded, list):
        return []
    return [
        (float(pair[0]), float(pair[1]))
        for pair in recorded
        if isinstance(pair, list) and len(pair) == 2 and all(map(is_number, pair))
        and pair[0] <= pair[1]
    ]  # fmt: skip


def _lanes(
    title: str,
    note: str,
    times: Mapping[str, Sequence[Span]],
    incidents: Sequence[Mapping[str, Any]],
    window: Span,
    zero: float,
) -> Markup:
    begin, end = window
    length = max(end - begin, 1e-3)
    unit, seconds = ("minutes", 60) if length > 180 else ("seconds", 1)
    bottom = TOP + LANE * len(times)
    x = Scale(0, length / seconds, LEFT, WIDTH - RIGHT)
    if zero < begin:
        x = Scale((begin - zero) / seconds, (end - zero) / seconds, LEFT, WIDTH - RIGHT)
    parts, rows = [across(x, bottom, TOP, f"{unit} since the start")], []
    for place, (stage, spans) in enumerate(times.items()):
        inside = [(max(one, begin), min(two, end)) for one, two in spans if one < end > begin < two]
        busy = busy_seconds(inside)
        name = f"{stage}, {100 * busy / length:.0f} % busy"
        y = TOP + LANE * place + 5
        parts.append(text(LEFT - 10, y + 14, name, "end", "label"))
        parts.append(
            element("rect", x=LEFT, y=y, width=x.end - x.start, height=LANE - 10, class_="idle")
        )
        bars = [
            element("rect", element("title", _words(stage, span, zero)), y=y, height=LANE - 10,
                    x=x((span[0] - zero) / seconds), class_="bar",
                    width=max(0.8, x(span[1] / seconds) - x(span[0] / seconds)))
            for span in _drawable(inside, length)
        ]  # fmt: skip
        parts.append(element("g", *bars, class_=colour(STAGES.index(stage))))
        rows.append((stage, round(busy, 1), round(length - busy, 1), round(100 * busy / length, 1)))
    for incident in incidents:
        moment = incident["unix_time"]
        if begin <= moment <= end:
            at = x((moment - zero) / seconds)
            words = f"{incident.get('who')}: {incident.get('what')}"
            corners = f"{at - 5:.1f},2 {at + 5:.1f},2 {at:.1f},12"
            parts.append(element("polygon", element("title", words), points=corners, class_="mark"))
    table = [("stage", "busy, s", "idle, s", "busy, %"), *rows]
    return figure(title, note, drawing(WIDTH, bottom + 40, title, *parts), table)


def _words(stage: str, span: Span, zero: float) -> str:
    return f"{stage}: {span[0] - zero:.1f} to {span[1] - zero:.1f} s ({span[1] - span[0]:.1f} s)"


def _drawable(spans: Sequence[Span], length: float) -> list[Span]:
    """Gaps too small to be seen are closed, so that a long run needs no more bars than pixels."""
    gap = length / (WIDTH - LEFT)
    return [(begin, end - gap) for begin, end in merged((one, two + gap) for one, two in spans)]
