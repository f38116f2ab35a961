"""What can go wrong, as a tree. The user's fault raises one of these; our own is an ``assert``.

    HonedError                 anything the user can mend; carries what, where and how
    ├── ConfigError            a setting is unknown, missing or out of range
    ├── DataError              a file or a row can't be used as instruction data
    ├── ModelError             a model, tokenizer or chat template can't be used
    ├── EndpointError          a server that answers prompts can't be reached, refuses, or answers what can't be read
    ├── BudgetError            the limit in money is reached
    ├── StoreError             the workspace or an artifact in it is missing, damaged, newer or full
    ├── JobError               a job can't be started, found, stopped or resumed
    └── RequestError           a request to the server can't be honoured; carries HTTP's status

Translated only at three edges: the CLI (two lines, exit 1, no traceback), the web (an OpenAI-shaped
body) and the worker (``status.json`` + the traceback in ``log.txt``).
"""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """Return the first line of what an error of others says, or its kind if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class HonedError(Exception):
    """A mistake that the user can mend.

    ``message`` says what is wrong and where, ``hint`` how to mend it; both are plain sentences.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ConfigError(HonedError):
    """A setting is unknown, missing or out of range."""


class DataError(HonedError):
    """A file or a row can't be used as instruction data."""


class ModelError(HonedError):
    """A model, its tokenizer or its chat template can't be used."""


class EndpointError(HonedError):
    """A server that answers prompts can't be reached, refuses, or answers what can't be read.

    ``status`` is HTTP's, 0 if there was no answer. ``lasting`` says that other requests would fare the same: a wrong
    key, a server that is down. Otherwise it was this request alone, such as one that is too long.
    """

    def __init__(self, message: str, hint: str = "", *, status: int = 0, lasting: bool = True) -> None:
        super().__init__(message, hint)
        self.status = status
        self.lasting = lasting


class BudgetError(HonedError):
    """The limit in money is reached: what is there is kept, nothing more is asked for."""


class StoreError(HonedError):
    """The workspace, or an artifact in it, is missing, damaged, of a newer version, or can't be written."""


class JobError(HonedError):
    """A job can't be started, found, stopped or resumed."""


class RequestError(HonedError):
    """A request to the server can't be honoured.

    ``status`` is HTTP's (400 to 499), ``code`` a short word for programs, ``param`` the field that is wrong.
    """

    def __init__(self, message: str, hint: str = "", *, status: int = 400, code: str = "", param: str = "") -> None:
        super().__init__(message, hint)
        assert 400 <= status < 500
        self.status = status
        self.code = code
        self.param = param
