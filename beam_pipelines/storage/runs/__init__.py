"""Run directories: listed, read with suspicion, written so that they are whole or not there."""
