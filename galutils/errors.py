"""The base of all errors that a user can mend."""


class GalutilsError(ValueError):
    """Its message is one sentence that says what is wrong and what to do; the command line shows only that."""


def first_line(error: Exception) -> str:
    """The first line of another library's message, or the error's name where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
