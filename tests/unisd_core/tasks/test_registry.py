import pytest

from unisd_core.common.errors import UserError
from unisd_core.tasks.base import Task
from unisd_core.tasks.registry import TASKS, load_task


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
