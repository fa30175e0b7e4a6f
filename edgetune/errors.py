"""Errors that say what happened, where, and what to do next; the command line turns each into one line."""


class EdgetuneError(Exception):
    """Base of every error that edgetune raises on purpose."""


class DataError(EdgetuneError, ValueError):
    """Rows that cannot be used; names the file and, where there is one, the line."""


class ConfigError(EdgetuneError, ValueError):
    """Options that do not fit together or are not known."""


class UnsupportedModelError(EdgetuneError, NotImplementedError):
    """A base model whose attention edgetune cannot reach, or cannot export."""


class BaseMismatchError(EdgetuneError, ValueError):
    """An adapter that was tuned on another base; names both fingerprints."""


class AdapterError(EdgetuneError, ValueError):
    """A folder that is not a whole adapter of a known version."""


class OutputExistsError(EdgetuneError, FileExistsError):
    """The place to write to is taken and `--force` was not given."""


class SigningError(EdgetuneError, ValueError):
    """A key that does not sign, or files that are not to be signed as they are; names the file."""


class VerificationError(EdgetuneError, ArithmeticError):
    """An exported graph that does not compute what the torch model computes."""


class LostProcessError(ConnectionError):
    """A process that others train with has ended or is silent. Not an EdgetuneError: the run can be continued."""


class Terminated(BaseException):
    """SIGTERM has ended the work, behind whose last step it can be continued; the exit code is 143."""
