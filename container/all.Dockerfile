# Airflow and torch in one environment, for DTX_BACKEND=local: `container/build airflow all`. On CPUs it has no prebuilt DeepSpeed operator.
ARG AIRFLOW_IMAGE=dtx-airflow:0.1.0
FROM ${AIRFLOW_IMAGE}
ARG UV_VERSION=0.13.9
USER 0:0
COPY requirements/trainer.lock /build/
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv \
 && python3 -m venv /uv && /uv/bin/pip install --no-cache-dir uv==${UV_VERSION} \
 && VIRTUAL_ENV=/opt/dtx UV_SYSTEM_CERTS=1 UV_NO_CACHE=1 /uv/bin/uv pip install --require-hashes --requirements /build/trainer.lock \
 && rm -rf /uv /build /var/lib/apt/lists/*
USER 1000:1000
