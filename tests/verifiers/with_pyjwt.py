"""Reads an access token per line and says whether it is valid. It keeps the keys for KEYS_SECONDS, and does not ask
earlier for a key that it does not know, as a strict cache."""

import os
import sys

import jwt

KEYS = jwt.PyJWKClient(os.environ["KEYS_URL"], lifespan=float(os.environ["KEYS_SECONDS"]))


def verify(token):
    identifier = jwt.get_unverified_header(token)["kid"]
    keys = {key.key_id: key for key in KEYS.get_signing_keys()}
    if identifier not in keys:
        raise jwt.InvalidTokenError(f"no key {identifier}")
    jwt.decode(token, keys[identifier], algorithms=["RS256"], issuer=os.environ["JWT_ISSUER"], audience="gatehouse")


for line in sys.stdin:
    try:
        verify(line.strip())
        print("valid", flush=True)
    except jwt.PyJWTError as error:
        print(repr(error), flush=True)
