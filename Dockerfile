# docker build -t wealthos . && docker run --rm -v "$PWD/data:/app/data" -v "$PWD/reports:/app/reports" wealthos
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app

# the environment changes rarely: a layer of its own
COPY requirements.lock ./
RUN python -m venv .venv \
    && .venv/bin/pip install -q --no-cache-dir --no-deps --require-hashes -r requirements.lock

COPY . .
RUN bash .ci/setup

# the lake, the warehouse and the reports live outside the image
VOLUME ["/app/data", "/app/reports"]
ENTRYPOINT ["/app/.venv/bin/wealthos"]
CMD ["run"]
