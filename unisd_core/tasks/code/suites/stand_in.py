"""Runs inside the sandbox in the place of pytest: what tests of single functions use of it.

``runner`` makes it the module "pytest"; ``collection`` refuses tests that use more.
"""

import re
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NoReturn


class Failed(BaseException):
    """What pytest raises where a test fails by its word; `except Exception` does not catch it."""


def fail(reason: str = "", pytrace: bool = True) -> NoReturn:
    """Fail the test."""
    raise Failed(reason)


def main(*args: Any, **kwargs: Any) -> int:
    """The tests are run by ``runner``."""
    return 0


class _Raises:
    def __init__(self, expected: Any, match: str | None) -> None:
        self.expected, self.match = expected, match
        self.type: type[BaseException] | None = None
        self.value: BaseException | None = None

    def __enter__(self) -> "_Raises":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if kind is None:
            fail(f"did not raise {self.expected}")
        if not issubclass(kind, self.expected):
            return False
        self.type, self.value = kind, value
        if self.match is not None and not re.search(self.match, str(value)):
            fail(f"{value!r} does not match {self.match!r}")
        return True


def raises(expected_exception: Any, *args: Any, match: str | None = None, **kwargs: Any) -> _Raises:
    """A block, or with ``args`` a call, that must raise ``expected_exception``."""
    found = _Raises(expected_exception, match)
    if not args:
        return found
    function, *rest = args
    with found:
        function(*rest, **kwargs)
    return found


class approx:
    """A number, or numbers in a list, tuple or dict, up to a millionth or 1e-12."""

    def __init__(
        self,
        expected: Any,
        rel: float | None = None,
        abs: float | None = None,
        nan_ok: bool = False,
    ) -> None:
        self.expected, self.rel, self.abs, self.nan_ok = expected, rel, abs, nan_ok

    def __repr__(self) -> str:
        return f"approx({self.expected!r})"

    def __eq__(self, other: object) -> bool:
        return self._near(other, self.expected)

    def _near(self, found: Any, expected: Any) -> bool:
        if isinstance(expected, dict):
            return (
                isinstance(found, dict)
                and found.keys() == expected.keys()
                and all(self._near(found[key], expected[key]) for key in expected)
            )
        if isinstance(expected, list | tuple):
            return (
                isinstance(found, list | tuple)
                and len(found) == len(expected)
                and all(map(self._near, found, expected))
            )
        if found == expected:
            return True
        try:
            if expected != expected:
                return self.nan_ok and bool(found != found)
            if abs(expected) == float("inf"):
                return False
            bound = 1e-12 if self.abs is None else self.abs
            if self.rel is not None or self.abs is None:
                bound = max(bound, (1e-6 if self.rel is None else self.rel) * abs(expected))
            return bool(abs(found - expected) <= bound)
        except TypeError:
            return False


class _Set(tuple[Any, ...]):
    pass


def param(*values: Any, id: str | None = None) -> _Set:
    """One set of parameters."""
    return _Set(values)


class _Mark:
    """``parametrize`` keeps the sets of parameters with the test; any other mark only names it."""

    def __getattr__(self, name: str) -> Any:
        def mark(*args: Any, **kwargs: Any) -> Any:
            return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else _same

        return mark

    def parametrize(
        self, argnames: Any, argvalues: Iterable[Any], ids: Any = None
    ) -> Callable[[Any], Any]:
        """Run the test once for each of ``argvalues``."""
        names = argnames.replace(",", " ").split() if isinstance(argnames, str) else list(argnames)
        single = isinstance(argnames, str) and len(names) == 1

        def keep(test: Any) -> Any:
            sets = []
            for value in argvalues:
                # param(...) is a tuple of its own, also where there is one name.
                values = (value,) if single and not isinstance(value, _Set) else tuple(value)
                if len(values) != len(names):
                    raise ValueError(f"{len(values)} values for {argnames!r}")
                sets.append(dict(zip(names, values, strict=True)))
            test.cases = [
                {**one, **other} for other in sets for one in getattr(test, "cases", [{}])
            ]
            return test

        return keep


def _same(test: Any) -> Any:
    return test


mark = _Mark()
