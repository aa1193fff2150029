# Images of Veilstream, a target for each role:
#   worker   ingest, feedback, learning, and the commands of operators
#   model    catalogue, profile: with the encoder
#   trainer  the trainer: with what fine-tuning needs
#   demo     the simulated shop with a broker of its own (compose.yaml)
#
#   docker build --target worker --tag veilstream/worker:0.2.0 .
#
# Not yet built by a container engine: none was there. tests/k8s/test_k8s_image.py runs the steps that install, without one.
#
# The base is pinned by its tag. Pin it by digest where you build: --build-arg PYTHON=python:3.11-slim-bookworm@sha256:...
# For x86-64: Faust has no wheel for Linux on ARM, and nothing is built from source here.
# Libraries are pinned with their hashes in k8s/image/*.lock, which `make lock` writes.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/veilstream
ENV PATH=/opt/veilstream/bin:$PATH
WORKDIR /source

FROM build AS wheel
COPY k8s/image/build.lock ./
RUN pip install --require-hashes --only-binary :all: -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas/ schemas/
COPY encoders/ encoders/
COPY streams/ streams/
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheel .

FROM build AS build-worker
COPY k8s/image/worker.lock ./
RUN pip install --require-hashes --only-binary :all: -r worker.lock
COPY --from=wheel /wheel /wheel
RUN pip install --no-deps --no-index --find-links /wheel veilstream

FROM build AS build-model
COPY k8s/image/model.lock ./
RUN pip install --require-hashes --only-binary :all: -r model.lock
COPY --from=wheel /wheel /wheel
RUN pip install --no-deps --no-index --find-links /wheel veilstream

FROM build AS build-trainer
COPY k8s/image/trainer.lock ./
RUN pip install --require-hashes --only-binary :all: -r trainer.lock
COPY --from=wheel /wheel /wheel
RUN pip install --no-deps --no-index --find-links /wheel veilstream

FROM build AS build-demo
COPY k8s/image/demo.lock ./
RUN pip install --require-hashes --only-binary :all: -r demo.lock
COPY --from=wheel /wheel /wheel
RUN pip install --no-deps --no-index --find-links /wheel veilstream

FROM ${PYTHON} AS run
ENV PATH=/opt/veilstream/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 10001 veilstream && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin veilstream
WORKDIR /tmp
CMD ["veilstream", "--help"]

FROM run AS worker
COPY --from=build-worker /opt/veilstream /opt/veilstream
USER 10001:10001

FROM run AS model
COPY --from=build-model /opt/veilstream /opt/veilstream
USER 10001:10001

FROM run AS demo
COPY --from=build-demo /opt/veilstream /opt/veilstream
USER 10001:10001

FROM run AS trainer
# LightGBM's wheel does not bring the OpenMP library along.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build-trainer /opt/veilstream /opt/veilstream
USER 10001:10001
