"""The errors people see: one line that says what, where and what to do."""


class NightliftError(Exception):
    """Something a person can mend; the message is one line: what, where, what to do."""

    exit_code = 1


class DataError(NightliftError):
    """The data are wrong: running again changes nothing, so nothing retries it."""

    exit_code = 2


class SetupError(NightliftError):
    """The machine or its settings are wrong: Java, Python, a port, the disk, a registry, a site file."""

    exit_code = 3


class AwayError(SetupError):
    """A service does not answer: it may be back soon, so Airflow runs the task again."""

    exit_code = 1
