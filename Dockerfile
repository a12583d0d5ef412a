# syntax=docker/dockerfile:1

ARG PYTHON_VERSION=3.12

# -- build: a virtual environment that holds everything, and nothing that only the building needs outside of it --
FROM python:${PYTHON_VERSION}-slim AS build

# cpu, or the CUDA build by its name on PyTorch's download site, such as cu130.
ARG TORCH=cpu

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PATH=/opt/onelayer/bin:$PATH

WORKDIR /src
RUN python -m venv /opt/onelayer

COPY requirements.lock requirements-torch.lock ./
RUN pip install --require-hashes -r requirements.lock \
    && pip install --index-url "https://download.pytorch.org/whl/${TORCH}" -r requirements-torch.lock

COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY app app
RUN pip install --no-deps --no-build-isolation .

# -- run: the environment alone, as a user without rights; everything that changes lies in the volume /data --
FROM python:${PYTHON_VERSION}-slim

RUN groupadd --system --gid 10001 onelayer \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin onelayer \
    && install --directory --owner onelayer --group onelayer /data

COPY --from=build /opt/onelayer /opt/onelayer

ENV PATH=/opt/onelayer/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ONELAYER_HOST=0.0.0.0 \
    ONELAYER_PORT=8000 \
    ONELAYER_FIRST_KEY=true \
    ONELAYER_DATA_DIR=/data \
    ONELAYER_CACHE_DIR=/data/cache

USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000

# By http.client, which knows no proxy: Docker may put http_proxy into the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['ONELAYER_PORT']), timeout=4); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]

ENTRYPOINT ["onelayer"]
CMD ["serve"]
