"""The page and its requests: every address begins with the token, every item is named by its position."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from agents.acquisition.items.folder_items import MEDIA
from agents.acquisition.tool.menu import MAX_NAME
from agents.acquisition.tool.web.desk import Desk
from agents.acquisition.tool.web.guard import Guard
from agents.acquisition.tool.web.pictures import LARGE, SIZE, Pictures
from agents.acquisition.tool.web.reports import Reports
from metaal_env.errors import InputError

HERE = Path(__file__).parent
Body = dict[str, Any]


def make_app(desk: Desk, reports: Reports, token: str, hosts: Sequence[str]) -> Starlette:
    """Builds the application.

    Args:
        token: First part of every address.
        hosts: Names, with port, under which the page is reached, e.g. ``"127.0.0.1:8765"``.
    """
    items = desk.session.items
    pictures = Pictures(items)
    places = [os.path.realpath(path) for path in items.sounds or []]
    pages = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True)
    name = Path(items.source).name

    def page(request: Request) -> Response:
        html = pages.get_template("page.html").render(
            name=name, base=f"/{token}", answers=desk.session.path.name
        )
        return HTMLResponse(html)

    def state(tab: str, annotator: str) -> Body:
        return reports.state(desk.current(tab, annotator), annotator)

    def start(request: Request) -> Body:
        return {"pool": name, "kind": items.kind, **state(*_who(request.query_params))}

    def answer(body: Body) -> Body:
        tab, annotator = _who(body)
        position, label, seconds = (body.get(name) for name in ("position", "label", "seconds"))
        unsure = body.get("unsure") is True
        claim = desk.answer(tab, position, label, annotator=annotator, unsure=unsure, seconds=seconds)
        return reports.state(claim, annotator)

    def undo(body: Body) -> Body:
        tab, annotator = _who(body)
        undone = desk.undo(tab, annotator)
        return {**state(tab, annotator), "undone": undone}

    def settle(body: Body) -> Body:
        desk.settle(body.get("position"), str(body.get("label", "")))
        return state(*_who(body))

    def restore(body: Body) -> Body:
        return {"restored": desk.restore_skipped(), **state(*_who(body))}

    def measure(body: Body) -> Body:
        desk.measure(body.get("size"))
        return state(*_who(body))

    def item(request: Request) -> Body:
        position = _known(request)
        who = _who(request.query_params)
        claim = desk.claims.of_tab.get(who[0])
        return reports.item(position, claim if claim and claim.position == position else None, who[1])

    def picture(request: Request) -> Response:
        try:
            data, media = pictures.rendered(
                _known(request), LARGE if "large" in request.query_params else SIZE
            )
        except InputError as error:
            raise HTTPException(404, str(error)) from error
        return Response(data, media_type=media, headers={"Cache-Control": "private, max-age=3600"})

    def sound(request: Request) -> Response:
        position = _known(request)
        if items.sounds is None or os.path.realpath(items.sounds[position]) != places[position]:
            raise HTTPException(404, "There is no such sound.")
        return FileResponse(items.sounds[position], media_type=MEDIA[items.sounds[position].suffix.lower()])

    def _known(request: Request) -> int:
        position = request.path_params["position"]
        if not 0 <= position < len(items):
            raise HTTPException(404, "There is no such item.")
        return int(position)

    def read(path: str, found: Callable[[Request], Body]) -> Route:
        return Route(path, lambda request: _as_json(lambda: found(request)), methods=["GET"])

    def change(path: str, found: Callable[[Body], Body]) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                body = json.loads(await request.body())
            except (ValueError, RecursionError):
                body = None
            if not isinstance(body, dict):
                return JSONResponse({"error": "the request is not a JSON object."}, 400)
            return await run_in_threadpool(_as_json, lambda: found(body))

        return Route(path, endpoint, methods=["POST"])

    def answers(request: Request) -> Body:
        before = request.query_params.get("before", "")
        return reports.answers(int(before) if before.isdecimal() and len(before) < 10 else None)

    routes = [
        Route("/", page),
        read("/api/start", start),
        read("/api/item/{position:int}", item),
        read("/api/why/{position:int}", lambda request: reports.why(_known(request))),
        read("/api/progress", lambda request: reports.progress()),
        read("/api/answers", answers),
        read("/api/review", lambda request: reports.review()),
        read("/api/map", lambda request: reports.map_view()),
        change("/api/answer", answer),
        change("/api/undo", undo),
        change("/api/settle", settle),
        change("/api/restore", restore),
        change("/api/measure", measure),
        Route("/picture/{position:int}", picture),
        Route("/sound/{position:int}", sound),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    guard = Middleware(Guard, token=token, hosts=hosts)  # type: ignore[arg-type] # starlette declares classes without arguments
    return Starlette(routes=[Mount(f"/{token}", routes=routes)], middleware=[guard])


def _as_json(compute: Callable[[], Body]) -> JSONResponse:
    try:
        return JSONResponse(compute())
    except InputError as error:
        return JSONResponse({"error": str(error)}, 409)


def _who(given: Any) -> tuple[str, str]:
    """Tab and annotator of a request."""
    tab, annotator = str(given.get("tab", "")), " ".join(str(given.get("annotator", "")).split())
    if not 0 < len(tab) <= MAX_NAME or not tab.isalnum():
        raise InputError("tab must be 1 to 200 letters and digits.")
    if len(annotator) > MAX_NAME or not (annotator.isprintable() or not annotator):
        raise InputError(f"annotator must be at most {MAX_NAME} characters that can be shown.")
    return tab, annotator
