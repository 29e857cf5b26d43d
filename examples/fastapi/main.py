import logging
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException

from caller import caller

app = FastAPI()
log = logging.getLogger("uvicorn.error")


def signed_in(authorization: Annotated[str | None, Header()] = None):
    try:
        return caller(authorization)
    except (jwt.PyJWKClientConnectionError, jwt.PyJWKSetError, OSError) as error:
        # Without the keys nobody can be verified; that is no fault of the token.
        log.error("the keys cannot be fetched: %s", error)
        raise HTTPException(503, "try again later")
    except jwt.PyJWTError:
        raise HTTPException(401, "sign in", {"WWW-Authenticate": "Bearer"})


@app.get("/me")
def me(caller: Annotated[dict, Depends(signed_in)]):
    return {"user": caller["sub"], "role": caller["role"]}
