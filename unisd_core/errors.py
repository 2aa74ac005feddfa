"""The one exception a user is meant to read."""


class UserError(Exception):
    """Bad input or an unreachable resource.

    The message is one line that names the file, key or row and what to do;
    pipelines print it without a traceback and exit with code 2.
    """
