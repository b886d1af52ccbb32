# The trainer: the service, DVC and PyTorch.
#   docker build --file docker/train.Dockerfile --tag retrace-train .
FROM debian:bookworm-slim AS build
# Debian keeps one version of a package in a release; the tag above names the release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/retrace
WORKDIR /src
COPY requirements.lock ./
# PyTorch without CUDA comes from an index of its own, the one that setup.sh names for TORCH=cpu:
# --build-arg TORCH_INDEX=https://...; pip's usual one brings it with CUDA.
ARG TORCH_INDEX
RUN /opt/retrace/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps \
    ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --constraint requirements.lock torch torchvision
COPY pyproject.toml README.md LICENSE ./
COPY retrace retrace
RUN /opt/retrace/bin/pip install --no-cache-dir --disable-pip-version-check \
    --constraint requirements.lock '.[train,service]'

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/retrace /opt/retrace
# The repository belongs to whoever mounts it; Git reads it here and never writes.
RUN git config --system --add safe.directory '*' \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin retrace \
    && install --directory --owner retrace --group retrace --mode 0700 /var/lib/retrace
ENV PATH=/opt/retrace/bin:$PATH \
    VIRTUAL_ENV=/opt/retrace \
    HOME=/var/lib/retrace \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RETRACE_HOME=/var/lib/retrace \
    RETRACE_ROOT=/repository
USER 10001:10001
WORKDIR /var/lib/retrace
VOLUME /var/lib/retrace
EXPOSE 8002
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8002), 4)"]
ENTRYPOINT ["retrace", "serve"]
CMD ["--only", "trainer", "--host", "0.0.0.0", "--port", "8002"]
