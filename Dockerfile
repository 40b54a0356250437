# One image for Airflow, Spark and MLflow: driver, executors and server never differ in a version.
FROM python:3.11.13-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless libgomp1 procps \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1000 nightlift \
    && useradd --uid 1000 --gid nightlift --create-home nightlift \
    && install --directory --owner nightlift --group nightlift /opt/nightlift /var/lib/nightlift /var/lib/mlartifacts

WORKDIR /opt/nightlift
COPY requirements.txt .
# --no-deps: the lock is complete but for nvidia-nccl-cu12 (470 MB), which xgboost does not need on a CPU.
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.txt

COPY --chown=nightlift:nightlift jobs jobs
COPY --chown=nightlift:nightlift dags dags
COPY --chown=nightlift:nightlift plugins plugins
COPY --chown=nightlift:nightlift expectations expectations
COPY --chown=nightlift:nightlift config config
# the root file system is read-only where it runs: compiled now or never
RUN python -m compileall -q jobs dags plugins \
    && install --directory --owner nightlift --group nightlift /var/lib/spark

ENV PYTHONPATH=/opt/nightlift:/opt/nightlift/plugins \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    PYSPARK_PYTHON=/usr/local/bin/python \
    NIGHTLIFT_HOME=/var/lib/nightlift \
    AIRFLOW_HOME=/var/lib/nightlift/airflow \
    OMP_WAIT_POLICY=PASSIVE \
    GX_ANALYTICS_ENABLED=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR=false \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
USER 1000:1000
