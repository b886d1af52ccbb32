# The service and the predictor: what `retrace serve` needs and no PyTorch.
#   docker build --file docker/api.Dockerfile --tag retrace-api .
FROM debian:bookworm-slim AS build
# Debian keeps one version of a package in a release; the tag above names the release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/retrace
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY retrace retrace
RUN /opt/retrace/bin/pip install --no-cache-dir --disable-pip-version-check \
    --constraint requirements.lock '.[service]'

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/retrace /opt/retrace
# The service writes here and nowhere else: a volume, where the rest is read-only.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin retrace \
    && install --directory --owner retrace --group retrace --mode 0700 /var/lib/retrace
ENV PATH=/opt/retrace/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RETRACE_HOME=/var/lib/retrace \
    RETRACE_ROOT=/repository
USER 10001:10001
WORKDIR /var/lib/retrace
VOLUME /var/lib/retrace
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["retrace", "serve"]
CMD ["--host", "0.0.0.0"]
