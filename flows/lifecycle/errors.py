"""How a command ends: an exit code and a sentence for every error.

0  done
1  a check, the data or something around it stopped the command: another time it may pass
2  the call, a setting or the mapping is wrong: it stays so until somebody changes it
130, 143, 129  somebody stopped it: Ctrl-C, SIGTERM, a terminal that went away (`signals.py`)
"""

from __future__ import annotations

import errno
import traceback

from contracts.errors import BusyError, NightjarError, UsageError
from flows.settings import own_code

DONE, STOPPED_BY_A_CHECK, WRONG_CALL = 0, 1, 2
_AGAIN = ". What is finished is kept; run it again"
_SPARK = (
    "Spark's Java process does not answer: it has ended, often for lack of memory; spark.memory "
    f"says how much it takes{_AGAIN}"
)
_DATABASE = f"the database does not answer{_AGAIN}"
_PREFECT = f"Prefect's server does not answer{_AGAIN}"
_PREFECT_FAILS = (
    f"Prefect's server answers with an error of its own: its database may be away{_AGAIN}"
)
_PREFECT_STARTS = (
    "Prefect's temporary server did not come up in time. Start a lasting one with `nightjar up`, "
    "or give it longer: prefect_start_seconds. What is finished is kept"
)
_SAID_BY_PREFECT = {
    "Timed out while attempting to connect to ephemeral Prefect API server": _PREFECT_STARTS,
    "Failed to reach API at": _PREFECT,
}
"""How texts of Prefect's begin whose errors are of no kind of their own, and what they mean."""
_AROUND_US = (
    ("py4j", {"Py4JNetworkError"}, _SPARK),
    ("sqlalchemy", {"OperationalError", "InterfaceError", "TimeoutError"}, _DATABASE),
    ("psycopg", {"OperationalError", "InterfaceError"}, _DATABASE),
    ("httpx", {"TransportError"}, _PREFECT),
    ("httpcore", {"NetworkError", "TimeoutException", "ProtocolError"}, _PREFECT),
)
"""Library, its errors that say that something is away, and what that is."""
_WAITS_HELP = frozenset(
    {errno.EAGAIN, errno.EINTR, errno.EIO, errno.EBUSY, errno.ETIMEDOUT, errno.ESTALE}
)
"""Errors of files and sockets that may be gone a moment later."""


class ForeignError(NightjarError):
    """What may be told of an error that is not ours: its kind and place, or what it means.

    Prefect keeps the text of whatever a run fails with, shows it and puts it into alerts; what a
    library says quotes values. So an error leaves our flows and tasks as this
    (`flows/steps/prefect_tasks.py`).
    """

    def __init__(self, message: str, is_expected: bool, may_pass: bool):
        super().__init__(message)
        self.is_expected = is_expected
        self.may_pass = may_pass


def as_nightjar_error(error: Exception) -> NightjarError:
    """The error, if it is one of ours; else what may be told of it, at the same place."""
    if isinstance(error, NightjarError):
        return error
    foreign = ForeignError(sentence(error), is_expected(error), may_pass(error))
    return foreign.with_traceback(error.__traceback__)


def exit_code(error: BaseException) -> int:
    return WRONG_CALL if isinstance(error, UsageError) else STOPPED_BY_A_CHECK


def is_expected(error: BaseException) -> bool:
    """Whether its sentence says it all, so that nobody needs to look into a log."""
    if isinstance(error, ForeignError):
        return error.is_expected
    return isinstance(error, NightjarError) or (
        isinstance(error, OSError) and error.filename is not None and error.strerror is not None
    )


def sentence(error: BaseException) -> str:
    """What a person is told; of an unexpected error its kind and place, and no values."""
    if isinstance(error, NightjarError):
        return str(error)
    around = _around_us(error)
    if around is not None:
        return around
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "this machine has too little memory for it"
    if type(error).__module__.startswith("pyspark."):
        return _said_by_spark(error)
    return f"unexpected error: {type(error).__name__} in {place(error)}"


def reason(error: BaseException) -> str:
    """The same without what to do about it, where that is done."""
    return sentence(error).removesuffix(_AGAIN)


def first_of(error: Exception) -> Exception:
    """What a run failed with, where Prefect failed in turn: its server was away as well when it was
    to be told of it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, NightjarError):
        cause = cause.__cause__ or cause.__context__
    return cause or error


def may_pass(error: BaseException) -> bool:
    """Whether a second try can end otherwise: something around us was away, or busy.

    What the data, a setting or our own code got wrong stays wrong; a Java process that has ended
    is not started again within a run.
    """
    if isinstance(error, ForeignError):
        return error.may_pass
    if isinstance(error, NightjarError):
        return isinstance(error, BusyError)
    if _around_us(error) == _SPARK:
        return False
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError):
        return error.errno in _WAITS_HELP
    return _around_us(error) in (_DATABASE, _PREFECT, _PREFECT_FAILS) or (
        type(error).__name__ in ("CommitFailedException", "CommitStateUnknownException")
    )


def _said_by_spark(error: BaseException) -> str:
    from pyspark.errors import PySparkException  # most commands start no Spark, and are quick

    from jobs.spark.error_sentences import spark_sentence

    kind = type(error).__name__
    if isinstance(error, PySparkException):
        kind = spark_sentence(error)
    return f"Spark stopped in {place(error)}: {kind}"


def _around_us(error: BaseException) -> str | None:
    """What is away; None where that is not what the error says."""
    names = {cls.__name__ for cls in type(error).__mro__}
    library = type(error).__module__.partition(".")[0]
    for name, errors, message in _AROUND_US:
        if library == name and names & errors:
            return message
    if library == "prefect" and str(error).startswith("Server error "):  # 500 and above
        return _PREFECT_FAILS
    for beginning, message in _SAID_BY_PREFECT.items():
        if isinstance(error, RuntimeError) and str(error).startswith(beginning):
            return message
    frames = traceback.extract_tb(error.__traceback__)
    if frames and "/py4j/" in frames[-1].filename and "Py4JJavaError" not in names:
        return _SPARK  # half an answer, which it stumbles over in many ways
    if isinstance(error, ConnectionError):  # raised by the standard library on its behalf
        for frame in reversed(frames):
            for name, _, message in _AROUND_US:
                if f"/{name}/" in frame.filename:
                    return message
    return None


def stack(error: BaseException) -> str:
    """Where an error came up, call by call, for its programmer: lines of code and no values."""
    return "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__


def place(error: BaseException) -> str:
    """Where in our code an error came up: file and line."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"{path}:{f.lineno}" for f in frames if (path := own_code(f.filename)) is not None]
    return ours[-1] if ours else "a library"
