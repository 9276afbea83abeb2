# The trainer: torch, and no Airflow. `make images` builds it; the context is what git knows of the tree.
ARG BASE_IMAGE=debian:bookworm-slim

# Debian's Python, and what wheels link to but do not bring: DeepSpeed's operator uses OpenMP.
FROM ${BASE_IMAGE} AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libgomp1 libstdc++6 python3 tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --home-dir /scratch --no-create-home dtx \
 && install -d -o dtx -g dtx /scratch /cache

# Stays behind: the compiler and uv.
FROM python AS builder
ARG UV_VERSION=0.13.9
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ python3-dev python3-venv \
 && python3 -m venv /uv && /uv/bin/pip install --no-cache-dir uv==${UV_VERSION}
# Unchecked: an image keeps times to the second, by which Python would take half of the bytecode for stale.
ENV VIRTUAL_ENV=/opt/dtx UV_SYSTEM_CERTS=1 UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 PYC_INVALIDATION_MODE=UNCHECKED_HASH
COPY requirements/trainer.lock /build/requirements/
WORKDIR /build
# DeepSpeed is built a second time because its operators link to torch. Its CPU collectives would otherwise be compiled when a
# training starts; they choose their instructions when they run, so the builder's processor does not matter.
RUN /uv/bin/uv venv /opt/dtx --python /usr/bin/python3 \
 && /uv/bin/uv pip sync --require-hashes requirements/trainer.lock \
 && sed -n '/^deepspeed==/,/# via/p' requirements/trainer.lock > deepspeed.lock \
 && DS_ACCELERATOR=cpu DS_BUILD_SHM_COMM=1 /uv/bin/uv pip install --reinstall --no-deps --no-build-isolation --require-hashes -r deepspeed.lock
COPY . /build
RUN /uv/bin/uv pip install --no-deps .

FROM python
COPY --from=builder /opt/dtx /opt/dtx
# The root file system may be read-only: /tmp, /scratch and /cache are what must be writable then.
ENV PATH=/opt/dtx/bin:$PATH HOME=/scratch XDG_CACHE_HOME=/cache TRITON_CACHE_DIR=/cache/triton DTX_CACHE=/cache/dtx DTX_SCRATCH=/scratch/dtx \
    PYTHONUNBUFFERED=1 MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /scratch
# A number: Kubernetes cannot tell from a name that it is not root.
USER 1000:1000
# As process 1 Python would ignore SIGTERM wherever it has no handler for it.
ENTRYPOINT ["tini", "--"]
CMD ["python", "-m", "dtx_tasks.entrypoints", "--help"]
