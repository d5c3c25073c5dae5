import os

# Both are read when the libraries are imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Without Google's servers, gcsfs otherwise looks for them for a minute.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
