"""Everything that touches files: run directories, recorded outcomes, score tables."""
