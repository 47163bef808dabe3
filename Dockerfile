# One image for every process: compose.yaml says which command each runs.
FROM python:3.13-slim-trixie AS build
WORKDIR /opt/aibot
COPY requirements.txt .
RUN python -m venv .venv && .venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt

FROM python:3.13-slim-trixie
# The client programs of `manage.py backup`, of the same version as the server in compose.yaml.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client=17+* \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin aibot \
    && install --directory --owner aibot --group aibot --mode 0700 /var/lib/aibot
WORKDIR /opt/aibot
COPY --from=build /opt/aibot/.venv .venv
COPY manage.py ./
COPY aibot aibot
COPY providers providers
COPY requests_app requests_app
COPY telegram_bot telegram_bot
COPY templates templates
ENV PATH=/opt/aibot/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DATA_DIR=/var/lib/aibot
# The files of the admin, once for every container; the key signs nothing and stays in this command.
RUN SECRET_KEY=for-this-command-only DATA_DIR=/tmp/build python manage.py collectstatic --noinput && rm -rf /tmp/build
USER 10001:10001
VOLUME /var/lib/aibot
EXPOSE 8000
# A worker finishes its calls: give it 130 seconds to stop (compose.yaml does).
STOPSIGNAL SIGTERM
CMD ["gunicorn", "aibot.wsgi", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "8", "--no-control-socket"]
