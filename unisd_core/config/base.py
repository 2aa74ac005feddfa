"""Base classes of settings and results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class FrozenModel(BaseModel):
    """Immutable, without unknown keys, with documented fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values for some fields, which are not validated. Raises ValueError for
        a field that does not exist, which pydantic would add without a word."""
        unknown = (update or {}).keys() - type(self).model_fields.keys()
        if unknown:
            raise ValueError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        return super().model_copy(update=update, deep=deep)


class Section(FrozenModel):
    """Base of every section."""

    model_config = ConfigDict(allow_inf_nan=False)


def dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings under dotted keys, in their order."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@cache
def leaf_fields(model: type[BaseModel], prefix: str = "") -> Mapping[str, FieldInfo]:
    """Every setting below ``model`` that is no section, by dotted key and in order."""
    found: dict[str, FieldInfo] = {}
    for name, info in model.model_fields.items():
        section = info.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            found.update(leaf_fields(section, f"{prefix}{name}."))
        else:
            found[prefix + name] = info
    return found
