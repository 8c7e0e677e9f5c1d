"""The base of all errors that a user can mend."""


class GalutilsError(ValueError):
    """Its message is one sentence that says what is wrong and what to do; the command line shows only that."""
