"""Errors that say what happened, where, and what to do next; each is also an error of Python's own family."""


class EdgetuneError(Exception):
    """Base of every error that this package raises on purpose."""


class BundleError(EdgetuneError, ValueError):
    """A folder that is not a whole bundle of a known version; names the file."""


class AdapterError(EdgetuneError, LookupError):
    """An adapter that is not there, is there already, or does not fit the graph."""


class SignatureError(BundleError, AdapterError):
    """Files that no trusted key has signed, or that are not what it signed."""


class BaseMismatchError(AdapterError):
    """An adapter that was tuned on another base; names both fingerprints."""


class ContextLengthError(EdgetuneError, ValueError):
    """More positions are asked for than the base can hold; names the numbers."""


class MemoryLimitError(EdgetuneError, MemoryError):
    """A model that does not fit the memory that the caller allows; names both in bytes."""


class TaskError(EdgetuneError, TypeError):
    """A bundle was asked for a task that it was not made for."""


class InputError(EdgetuneError, TypeError):
    """A text that is neither a string nor token ids of the base's vocabulary."""


class OptionError(EdgetuneError, ValueError):
    """An option outside its range, such as a negative temperature."""


class MissingExtraError(EdgetuneError, ImportError):
    """Something was asked for that needs an optional package; names the extra to install."""


class ConversationError(EdgetuneError, RuntimeError):
    """A conversation whose turn is still being written was given another, or a stored one that is not whole."""
