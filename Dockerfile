# The image of Dataflow's workers, with or without a GPU: docs/dataflow.md builds and uses it.
#
# CUDA's libraries are the wheels that TensorFlow itself names, in the versions of our lock. NVIDIA's
# base images would bring the Pythons of Ubuntu, not that of Beam's image, and their runtime variants
# lack the parts of CUDA that XLA compiles with. The driver is Dataflow's, at /usr/local/nvidia.
FROM python:3.11-slim-bookworm

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PATH=/usr/local/nvidia/bin:$PATH \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64 \
    # Processes that share a GPU must not each take all of its memory.
    TF_FORCE_GPU_ALLOW_GROWTH=true

WORKDIR /opt/heldout

# What changes least, and weighs most, comes first: a new Heldout is a new last layer.
COPY requirements.txt .
RUN pip install --no-deps --requirement requirements.txt
COPY requirements-gpu.txt .
RUN pip install --no-deps --requirement requirements-gpu.txt

COPY --from=apache/beam_python3.11_sdk:2.77.0 /opt/apache/beam /opt/apache/beam

COPY . .
RUN pip install --no-deps --no-build-isolation . && pip check

WORKDIR /
ENTRYPOINT ["/opt/apache/beam/boot"]
