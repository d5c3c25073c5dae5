"""Builds the source distribution that Dataflow's `--setup_file` installs on its workers.

Everything about the package is in pyproject.toml.
"""

import setuptools

setuptools.setup()
