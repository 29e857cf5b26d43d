import os
import jwt

KEYS = jwt.PyJWKClient(os.environ["AUTH_API"] + "/.well-known/jwks.json", timeout=5, lifespan=7200)  # seconds


def caller(authorization):
    """The claims of a valid access token; raises jwt.PyJWTError for any other."""
    token = (authorization or "").partition(" ")[2].strip()
    claims = jwt.decode(
        token, KEYS.get_signing_key_from_jwt(token), algorithms=["RS256"],
        issuer=os.environ["JWT_ISSUER"], audience=os.environ["JWT_AUDIENCE"],
        options={"require": ["sub", "sid", "exp", "iat"]}, leeway=30,  # seconds by which clocks may be apart
    )
    if claims.get("type") != "access":
        raise jwt.InvalidTokenError("no access token")
    return claims
