"""The error that ends a command with one line and exit status 2."""


class UsageError(ValueError):
  """The command cannot do what was asked; the message says what, where, and what to do."""
