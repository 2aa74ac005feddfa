"""Errors: the one exception whose message is meant for the user, and one-line reasons of others."""


class UserError(Exception):
    """Bad input or an unreachable resource.

    The message is one line that names the file, key or row and what to do;
    pipelines print it without a traceback and exit with code 2.
    """


def shorten(text: str, longest: int = 200) -> str:
    """``text`` as a message quotes it, without its end where it is long."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def reason(error: BaseException) -> str:
    """The first line of what another library says of its failure, or the kind of error."""
    return shorten((str(error).strip().splitlines() or [type(error).__name__])[0], 400)
