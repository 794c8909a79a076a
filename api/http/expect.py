"""`Expect`: a client asks first, and is bidden to send its body only where somebody is going to read it.

aiohttp looks at this header before the guard and, where no route is, answers it by itself. So nothing is refused here
until the guard is through with the rest: `check_expected` does it then, in the shape of all our errors.
"""

from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion11, web
from aiohttp.web_urldispatcher import MatchInfoError

from api.errors import BadRequest
from api.http.auth import ACCESS
from api.http.inputs import listed

_CONTINUE = "100-continue"


async def bid(request: web.Request) -> None:
    """Bid a client that asks first to send its body; who is not let in gets a refusal before sending one for nothing."""
    is_asked = request.headers.get("Expect", "").lower() == _CONTINUE and request.version >= HttpVersion11
    if is_asked and request.app[ACCESS].may_go_on(request):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # what aiohttp's own handler does: this was not the answer yet


def check_expected(request: web.Request) -> None:
    """Refuse what else a client may expect, where there is a route to refuse it.

    Raises:
        BadRequest: it expects something else than to be told to go on.

    """
    expected = listed(request, "Expect")
    if expected and expected.lower() != _CONTINUE and request.match_info.http_exception is None:
        raise BadRequest(f"only `Expect: {_CONTINUE}` is understood")


class Router(web.UrlDispatcher):
    """aiohttp's own, but where no route is, `Expect` is left to the guard too."""

    async def resolve(self, request: web.Request) -> web.UrlMappingMatchInfo:
        """Return the route of *request*, or why there is none."""
        found = await super().resolve(request)
        return found if found.http_exception is None else _Unrouted(found.http_exception)


class _Unrouted(MatchInfoError):
    @property
    def expect_handler(self) -> Callable[[web.Request], Awaitable[None]]:
        return _nobody_reads


async def _nobody_reads(_: web.Request) -> None:
    """Bid nothing: the refusal comes at once."""
