# syntax=docker/dockerfile:1
# The bridge alone: locked dependencies, no compiler, no pip, no root. docker-compose.yml adds a read-only root.
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/otel-bridge
WORKDIR /src
# Dependencies first: a change of the code does not install them again.
COPY requirements/run.txt requirements/run.txt
RUN /opt/otel-bridge/bin/pip install --require-hashes -r requirements/run.txt
# `otel-bridge files` writes these three instructions for a wheel in place of the sources.
COPY pyproject.toml README.md ./
COPY otel_bridge otel_bridge
RUN /opt/otel-bridge/bin/pip install --no-deps --no-build-isolation . \
 && /opt/otel-bridge/bin/pip uninstall --yes setuptools pip \
 && /opt/otel-bridge/bin/python -m compileall -q /opt/otel-bridge/lib

FROM python:3.11.14-slim-bookworm
RUN groupadd --system --gid 10001 otel-bridge \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin otel-bridge \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/otel-bridge
COPY --from=build /opt/otel-bridge /opt/otel-bridge
COPY otel-bridge.toml /etc/otel-bridge/otel-bridge.toml
ENV PATH=/opt/otel-bridge/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    OTEL_BRIDGE_CONFIG=/etc/otel-bridge/otel-bridge.toml \
    OTEL_BRIDGE_JOURNAL=sqlite:////var/lib/otel-bridge/otel-bridge.db
USER 10001:10001
WORKDIR /var/lib/otel-bridge
# The journal, and the key of the user hashes beside it.
VOLUME /var/lib/otel-bridge
# Which address it listens on is the place's to say (OTEL_BRIDGE_HOST=0.0.0.0): as shipped, loopback.
EXPOSE 8000 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["otel-bridge"]
CMD ["serve"]
