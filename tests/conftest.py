import os

import hypothesis

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

hypothesis.settings.register_profile("untimed", deadline=None)  # time is no property of the code
hypothesis.settings.load_profile("untimed")
