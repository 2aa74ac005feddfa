from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.scripted_writer import ScriptedWriter
from unisd_core.common.errors import UserError
from unisd_core.models.completion_cache import CompletionText, Determinants, TextCache
from unisd_core.views.writing import WritingRequest, WritingSettings, write_all

SETTINGS = WritingSettings(temperature=0.7, max_tokens=32, retries=2)
DETERMINANTS = st.builds(
    Determinants,
    kind=st.text(max_size=5),
    prompt=st.text(st.characters(), max_size=20),
    model=st.text(max_size=5),
    temperature=st.sampled_from([0.0, 0.5, 0.7, 1.0]),
    max_tokens=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    attempt=st.integers(0, 3),
)


def request(prompt: str, refuse: str = "bad", seed: int = 1) -> WritingRequest[str]:
    return WritingRequest(
        "test/1", prompt, seed, lambda text: None if text.startswith(refuse) else text.upper()
    )


@given(DETERMINANTS, DETERMINANTS)
def test_keys_are_equal_exactly_when_all_determinants_are(
    one: Determinants, other: Determinants
) -> None:
    assert (one.key == other.key) == (one == other)


@given(DETERMINANTS, st.data())
def test_each_determinant_is_part_of_the_key(one: Determinants, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from([field.name for field in dataclasses.fields(one)]))
    value: Any = getattr(one, field)
    changed = value + "x" if isinstance(value, str) else value + 1
    assert dataclasses.replace(one, **{field: changed}).key != one.key


def test_a_key_does_not_depend_on_how_the_temperature_is_written() -> None:
    one = Determinants("k", "p", "m", 1.0, 2, 3, 0)
    assert one.key == dataclasses.replace(one, temperature=1).key


@settings(max_examples=30)
@given(text=st.text(st.characters()), finished=st.booleans())
def test_texts_come_back_as_they_were_put(
    tmp_path_factory: pytest.TempPathFactory, text: str, finished: bool
) -> None:
    cache = TextCache(tmp_path_factory.getbasetemp() / "texts")
    cache.put("ab12", CompletionText(text, finished))
    assert cache.get("ab12") == CompletionText(text, finished)
    assert cache.get("ab13") is None
    assert [path.name for path in (cache.folder / "ab").iterdir()] == ["ab12.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b'{"text": "tor', b"\xff\xfe", b"[]", b'{"text": 3, "finished": true}',
     b'{"text": "x"}', b'{"text": "x", "finished": 1}', b"[" * 100_000],
)  # fmt: skip
def test_torn_and_malformed_files_count_as_absent(tmp_path: Path, content: bytes) -> None:
    writer = ScriptedWriter(lambda prompt, seed: "fine")
    first = write_all([request("p")], writer.writing(tmp_path), SETTINGS)
    (file,) = tmp_path.rglob("*.json")
    file.write_bytes(content)
    assert write_all([request("p")], writer.writing(tmp_path), SETTINGS) == first
    assert len(writer.prompts) == 2
    assert json.loads(file.read_bytes())["text"] == "fine"


def test_the_cache_is_in_the_projects_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNISD_CACHE", str(tmp_path))
    assert TextCache().folder == tmp_path / "texts"


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: texts of the model cannot be kept.*UNISD_CACHE"):
        TextCache(tmp_path / "file").put("ab", CompletionText("", True))


def test_the_same_inputs_never_ask_the_writer_again(tmp_path: Path) -> None:
    writer = ScriptedWriter(lambda prompt, seed: f"bad {prompt}" if "2" in prompt else prompt)
    requests = [request(f"prompt {n}") for n in range(4)]
    first = write_all(requests, writer.writing(tmp_path), SETTINGS)
    assert first.values == ["PROMPT 0", "PROMPT 1", None, "PROMPT 3"]
    assert (first.written, first.cached, first.failed) == (4 + 2, 0, 1)
    asked = len(writer.calls)
    again = write_all(requests, writer.writing(tmp_path), SETTINGS)
    assert again.values == first.values
    assert (again.written, again.cached, again.failed) == (0, 6, 1)
    assert len(writer.calls) == asked


def test_only_what_the_cache_lacks_is_asked_for_in_one_batch(tmp_path: Path) -> None:
    writer = ScriptedWriter(lambda prompt, seed: prompt)
    write_all([request("b")], writer.writing(tmp_path), SETTINGS)
    outcome = write_all(
        [request("a"), request("b"), request("c")], writer.writing(tmp_path), SETTINGS
    )
    assert outcome.values == ["A", "B", "C"]
    assert writer.prompts == ["b", "a", "c"]
    assert writer.calls == [{"temperature": 0.7, "max_tokens": 32}] * 2


def test_another_model_prompt_seed_or_limit_is_asked_anew(tmp_path: Path) -> None:
    writer = ScriptedWriter(lambda prompt, seed: prompt)
    write_all([request("a")], writer.writing(tmp_path), SETTINGS)
    write_all([request("a")], writer.writing(tmp_path, model="other"), SETTINGS)
    write_all([request("a", seed=2)], writer.writing(tmp_path), SETTINGS)
    longer = dataclasses.replace(SETTINGS, max_tokens=33)
    write_all([request("a")], writer.writing(tmp_path), longer)
    assert len(writer.prompts) == 4


def test_refused_texts_are_tried_again_with_other_seeds(tmp_path: Path) -> None:
    seeds: list[int] = []

    def script(prompt: str, seed: int) -> str:
        seeds.append(seed)
        return "good" if len(seeds) == 3 else "bad"

    outcome = write_all([request("a")], ScriptedWriter(script).writing(tmp_path), SETTINGS)
    assert outcome.values == ["GOOD"]
    assert len(set(seeds)) == 3


def test_without_randomness_there_is_one_try(tmp_path: Path) -> None:
    writer = ScriptedWriter(lambda prompt, seed: "bad")
    greedy = dataclasses.replace(SETTINGS, temperature=0.0)
    assert write_all([request("a")], writer.writing(tmp_path), greedy).failed == 1
    assert len(writer.prompts) == 1


def test_cut_off_texts_are_refused(tmp_path: Path) -> None:
    writer = ScriptedWriter(lambda prompt, seed: "good", finished=False)
    assert write_all([request("a")], writer.writing(tmp_path), SETTINGS).values == [None]
    assert len(writer.prompts) == 3


def test_a_writer_that_loses_texts_is_an_error(tmp_path: Path) -> None:
    class Loses(ScriptedWriter):
        def __call__(self, prompts: Any, **settings: Any) -> list[CompletionText]:
            return super().__call__(prompts, **settings)[1:]

    with pytest.raises(UserError, match="0 texts came back for 1"):
        write_all([request("a")], Loses(lambda p, s: p).writing(tmp_path), SETTINGS)
