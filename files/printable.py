"""Texts that come from elsewhere, such as names of files, made fit for one line of a message."""


def printable(text: str) -> str:
  """Returns a text in which whatever would end the line or steer a terminal is spelled out.

  So are the bytes of a file's name that are no text, which neither terminals nor tables can hold.
  """
  return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
