"""Every error a user can cause, as one small tree.

MambascopeError
├── PromptError      a prompt, subject, answer or token id that cannot be used
├── SiteError        an unknown site, or an edit or record that does not fit or touched nothing
├── ConfigError      an option with an impossible value
├── ModelError       a model that cannot be found, read or written
│   └── CheckpointError   files that were found but do not hold what they should
├── DataError        a data file that cannot be read as what it claims to be
└── OutputError      results that cannot be written or read back

The command line prints the message alone and exits with 2. What cannot happen is an assert, never one of these.
"""


class MambascopeError(Exception):
    """Base of all errors that a user can cause and mend; `str(error)` is one clear sentence."""


class PromptError(MambascopeError):
    """A prompt, subject, answer or token id that cannot be used."""


class SiteError(MambascopeError):
    """An unknown site, or an edit or a record that does not fit the model or touched nothing."""


class ConfigError(MambascopeError):
    """An option with an impossible value."""


class ModelError(MambascopeError):
    """A model that cannot be found, read, run or written."""


class CheckpointError(ModelError):
    """Model files that were found but do not hold what they should."""


class DataError(MambascopeError):
    """A data file that cannot be read as what it claims to be."""


class OutputError(MambascopeError):
    """Results that cannot be written, or read back."""
