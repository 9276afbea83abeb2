# Airflow's processes and MLflow's server, and no torch. `make images` builds it; the context is what git knows of the tree.
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libgomp1 libstdc++6 python3 tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --home-dir /scratch --no-create-home dtx \
 && install -d -o dtx -g dtx /scratch /cache

# Stays behind: uv.
FROM python AS builder
ARG UV_VERSION=0.13.9
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && python3 -m venv /uv && /uv/bin/pip install --no-cache-dir uv==${UV_VERSION}
# Unchecked: an image keeps times to the second, by which Python would take half of the bytecode for stale.
ENV VIRTUAL_ENV=/opt/dtx UV_SYSTEM_CERTS=1 UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 PYC_INVALIDATION_MODE=UNCHECKED_HASH
COPY requirements/airflow.lock /build/requirements/
WORKDIR /build
RUN /uv/bin/uv venv /opt/dtx --python /usr/bin/python3 \
 && /uv/bin/uv pip sync --require-hashes requirements/airflow.lock
COPY . /build
# A path without Python's version in it, for the settings below.
RUN /uv/bin/uv pip install --no-deps . \
 && cd /opt/dtx && ln -s lib/python3*/site-packages/dtx_tasks package

FROM python
COPY --from=builder /opt/dtx /opt/dtx
# The root file system may be read-only: /tmp, /scratch and /cache are what must be writable then.
ENV PATH=/opt/dtx/bin:$PATH HOME=/scratch XDG_CACHE_HOME=/cache DTX_CACHE=/cache/dtx DTX_SCRATCH=/scratch/dtx AIRFLOW_HOME=/scratch/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/dtx/package/dags AIRFLOW__CORE__PLUGINS_FOLDER=/opt/dtx/package/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False PYTHONUNBUFFERED=1 MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /scratch
# A number: Kubernetes cannot tell from a name that it is not root.
USER 1000:1000
ENTRYPOINT ["tini", "--"]
CMD ["airflow", "version"]
