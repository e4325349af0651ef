"""Who calls what, for the fuzzer: the callers that docs/openapi.yaml names, with what the test gives them."""

import datetime
import hashlib
import hmac
import os
import re
import time
import uuid

import requests
import schemathesis


class BearerToken(requests.auth.AuthBase):
    """A user of the app."""

    def __init__(self, variable):
        self.token = os.environ[variable]

    def __call__(self, request):
        request.headers["authorization"] = f"Bearer {self.token}"
        return request


class SecretKey(requests.auth.AuthBase):
    """A service of the project."""

    def __call__(self, request):
        request.headers["apikey"] = os.environ["SECRET_KEY"]
        return request


class ZoomSignature(requests.auth.AuthBase):
    """Zoom, with the body as it goes out, now."""

    def __call__(self, request):
        timestamp = request.headers.get("x-zm-request-timestamp", "")
        if isinstance(timestamp, bytes):
            timestamp = timestamp.decode("latin-1")
        if timestamp.isdecimal():
            timestamp = str(int(time.time()))
            request.headers["x-zm-request-timestamp"] = timestamp
        body = request.body or b""
        if isinstance(body, str):
            body = body.encode()
        secret = os.environ["WEBHOOK_SECRET"].encode()
        signed = b"v0:" + timestamp.encode("latin-1") + b":" + body
        request.headers["x-zm-signature"] = "v0=" + hmac.new(secret, signed, hashlib.sha256).hexdigest()
        return request


for path, auth in {
    "/zoom-oauth-start": BearerToken("HOST_TOKEN"),
    "/create-session": BearerToken("HOST_TOKEN"),
    "/start-session": BearerToken("HOST_TOKEN"),
    "/join-session": BearerToken("OTHER_TOKEN"),
    "/refresh-token": BearerToken("HOST_TOKEN"),
    # Somebody else, so that the host stays connected.
    "/zoom-disconnect": BearerToken("OTHER_TOKEN"),
    "/zoom-sync": SecretKey(),
    "/zoom-webhook": ZoomSignature(),
}.items():
    schemathesis.auth.set_from_requests(auth).apply_to(path=path)


def is_uuid(value):
    try:
        return isinstance(value, str) and bool(uuid.UUID(value))
    except ValueError:
        return False


@schemathesis.hook.apply_to(path="/create-session")
def map_body(context, body):
    """Starts that lie ahead, and participants who exist: more than a schema can say."""
    if isinstance(body, dict):
        start, people = body.get("scheduled_start"), body.get("participant_ids")
        if isinstance(start, str):
            next_year = datetime.date.today().year + 1
            body["scheduled_start"] = re.sub(r"^\d{4}(?=-)", str(next_year), start)
        if isinstance(people, list) and 0 < len(people) < 5 and all(map(is_uuid, people)):
            body["participant_ids"] = [os.environ["PARTICIPANT_ID"]]
    return body
