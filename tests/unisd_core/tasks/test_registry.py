from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unisd_core.common.errors import UserError
from unisd_core.tasks.base import Task
from unisd_core.tasks.registry import TASKS, load_task, split_address


def test_every_registered_task_carries_its_name_and_splits() -> None:
    for name in [*TASKS, "custom"]:
        task = load_task(name, "somewhere", 0)
        assert isinstance(task, Task)
        assert task.name == name
        assert task.test_splits
        assert "train" not in task.test_splits
        assert task.max_completion_length > 0


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'sums'.*arc_easy.*cos_e.*custom.*minitools.*scienceqa"):
        load_task("sums", None, 0)


@pytest.mark.parametrize("name", sorted([*TASKS, "custom"]))
def test_unknown_split_is_named(name: str) -> None:
    with pytest.raises(UserError, match="no split 'dev'"):
        load_task(name, "somewhere", 0).rows("dev")


RIDDLES = """
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row

class Riddles(Task):
    name = "riddles"
    def rows(self, split):
        return [Row("What has hands and cannot clap?", "A clock.")]
    def score(self, row, completion):
        raise NotImplementedError

class Nameless(Riddles):
    name = ""

def sums():
    return Task.from_rows([Row("1 + 1?", "2")], "numeric", name="sums")

def text():
    return "no task"

LIST = []
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that holds my_tasks.py."""
    (tmp_path / "my_tasks.py").write_text(RIDDLES)
    (tmp_path / "broken_tasks.py").write_text("import no_such_library\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_tasks", raising=False)
    return tmp_path


def test_a_custom_class_is_imported_by_its_name(here: Path) -> None:
    task = load_task("my_tasks:Riddles", None, 0)
    assert (task.name, task.address) == ("riddles", "my_tasks:Riddles")
    assert task.rows("train")[0].reference == "A clock."
    assert load_task("my_tasks:sums", None, 0).rows("train")[0].reference == "2"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("her_tasks:Riddles", "there is no module 'her_tasks'"),
        ("my_tasks.more:Riddles", "there is no module 'my_tasks.more'"),
        (":Riddles", "there is no module ''"),
        ("my_tasks:Puzzles", "my_tasks.py has no class 'Puzzles'"),
        ("my_tasks:LIST", "has no class 'LIST'"),
        ("my_tasks:", "has no class ''"),
        ("my_tasks:text", "found str"),
        ("my_tasks:Nameless", "must give a unisd_core.Task with a name"),
    ],
)
def test_a_name_that_gives_no_task_is_one_line(here: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^task={name}: ") as caught:
        load_task(name, None, 0)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistake_inside_the_module_keeps_its_traceback(here: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_task("broken_tasks:Riddles", None, 0)


@pytest.mark.parametrize(
    ("item", "name", "split"),
    [
        ("cos_e", "cos_e", ""),
        ("minitools:unseen", "minitools", "unseen"),
        ("custom:test", "custom", "test"),
        ("my_tasks:Riddles", "my_tasks:Riddles", ""),
        ("my_tasks:Riddles:hard", "my_tasks:Riddles", "hard"),
    ],
)
def test_a_split_is_told_from_the_class_of_a_module(item: str, name: str, split: str) -> None:
    assert split_address(item) == (name, split)
