"""The machine below the estimators: bits laid out in tiles, and the compiled loops over them."""
