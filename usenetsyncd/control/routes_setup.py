"""Servers, configuration, credentials."""

from fastapi import APIRouter
from starlette.responses import Response

from usenetsyncd.control import schema
from usenetsyncd.control.answers import answer, described, done
from usenetsyncd.control.operations import Operations


def setup_routes(operations: Operations) -> APIRouter:
    """Routes about what is set."""
    routes = APIRouter(tags=["setup"])

    @routes.get("/servers", responses=described(schema.ServerList))
    def servers() -> Response:
        """All configured news servers."""
        return answer(operations.servers())

    @routes.post("/servers/{name}/test", responses=described(schema.ServerReport))
    def server_test(name: str, order: schema.ServerTest | None = None) -> Response:
        """Connect, log in, ask, and post one article where the order says so; takes seconds."""
        return answer(operations.server_test(name, order is not None and order.post))

    @routes.get("/config", responses=described(schema.ConfigShown))
    def config_show(origin: bool = False) -> Response:
        """The settings in effect."""
        return answer(operations.config_show(origin))

    @routes.post("/config/validate", responses=described(schema.ConfigReport))
    def config_validate(text: schema.ConfigText | None = None) -> Response:
        """Check a text, or without one what stands in the files now."""
        return answer(operations.config_validate(text))

    @routes.get("/config/diff", responses=described(schema.ConfigDifference))
    def config_diff() -> Response:
        """The running settings against the files."""
        return answer(operations.config_diff())

    @routes.post("/config/reload", responses=described(schema.ConfigDifference))
    def config_reload() -> Response:
        """Apply what stands in the files, or on any error nothing."""
        return answer(operations.config_reload())

    @routes.get("/credentials", responses=described(schema.CredentialList))
    def credentials() -> Response:
        """Names, never values."""
        return answer(operations.credentials())

    @routes.put("/credentials/{name}")
    def credential_set(name: str, value: schema.CredentialValue) -> Response:
        """Store or replace a value."""
        operations.credential_set(name, value.value)
        return done()

    @routes.delete("/credentials/{name}")
    def credential_remove(name: str) -> Response:
        """Forget a value."""
        operations.credential_remove(name)
        return done()

    return routes
