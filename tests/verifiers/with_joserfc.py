"""Reads an access token per line and says whether it is valid. It keeps the keys for KEYS_SECONDS, and does not ask
earlier for a key that it does not know, as a strict cache."""

import json
import os
import sys
import time
import urllib.request

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

CHECKS = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": os.environ["JWT_ISSUER"]},
    aud={"essential": True, "value": "gatehouse"},
    exp={"essential": True},
)
keys, fetched = None, 0.0


def verify(token):
    global keys, fetched
    now = time.monotonic()
    if keys is None or now - fetched >= float(os.environ["KEYS_SECONDS"]):
        with urllib.request.urlopen(os.environ["KEYS_URL"]) as answer:
            keys, fetched = KeySet.import_key_set(json.load(answer)), now
    CHECKS.validate(jwt.decode(token, keys, algorithms=["RS256"]).claims)


for line in sys.stdin:
    try:
        verify(line.strip())
        print("valid", flush=True)
    except (JoseError, ValueError) as error:
        print(repr(error), flush=True)
