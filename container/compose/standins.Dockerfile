# Stand-ins where no registry can be reached: the images of docker-compose.yaml as far as it uses them. `container/compose/engine` builds them.
# The base is a Debian 12 with what CPython links to; Python itself is mounted, see override.dev.yaml.
ARG BASE_IMAGE=dtx-base:dev

# Does what docker-compose.yaml needs of docker.io/postgres.
FROM ${BASE_IMAGE} AS postgres
RUN apt-get update \
 && apt-get install -y --no-install-recommends postgresql-15 \
 && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/15 \
 && install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
COPY postgres-standin /usr/local/bin/
USER postgres
ENTRYPOINT ["postgres-standin"]

FROM ${BASE_IMAGE} AS s3
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/*
COPY versitygw /usr/local/bin/
ENTRYPOINT ["versitygw"]

# As container/airflow.Dockerfile ends, with the packages of the mounted checkout: Airflow and torch.
FROM ${BASE_IMAGE} AS airflow
ARG REPOSITORY
RUN useradd --uid 1000 --home-dir /scratch --no-create-home dtx && install -d -o dtx -g dtx /scratch /cache
ENV PATH=${REPOSITORY}/.venv/bin:$PATH HOME=/scratch XDG_CACHE_HOME=/cache DTX_CACHE=/cache/dtx DTX_SCRATCH=/scratch/dtx AIRFLOW_HOME=/scratch/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=${REPOSITORY}/dags AIRFLOW__CORE__PLUGINS_FOLDER=${REPOSITORY}/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False PYTHONUNBUFFERED=1 MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /scratch
USER 1000:1000
ENTRYPOINT ["tini", "--"]
