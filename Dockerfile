# headless-eval in a container; the environment is made by the same script as in a checkout.
#
#   docker build -t headless-eval .                                          torch with CUDA, for GPU and CPU
#   docker build -t headless-eval --build-arg TORCH_INDEX_URL=ADDRESS .      with PyTorch's CPU index (see pytorch.org):
#                                                                            several GB smaller, CPU only
#   docker build -t headless-eval --build-arg EXTRAS=openpi,parquet .        with extras of the package
#
#   docker run --rm -v "$PWD/results:/data/results" headless-eval            evaluates the bundled policy
#   docker run --rm --gpus all -v "$PWD/results:/data/results" headless-eval run --gpu 0
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm

# EGL draws the pictures; gcc compiles the inference engine for CPUs on first use.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libegl1 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/headless-eval
COPY . .
ARG TORCH_INDEX_URL=
ARG EXTRAS=
RUN ROOT=$PWD PYTHON=python3 PIP_NO_CACHE_DIR=1 bash -euo pipefail -c \
    'source scripts/environment.sh && ensure_default "$EXTRAS"'

# With --gpus, the NVIDIA runtime brings in what computing (compute) and drawing by EGL (graphics) need.
ENV PATH=/opt/headless-eval/.venv/bin:$PATH \
    MUJOCO_GL=egl \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics
WORKDIR /data
ENTRYPOINT ["headless-eval"]
CMD ["run"]
