"""Score tables: their one definition, and the directory in which they are published."""
