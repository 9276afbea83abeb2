"""The app that the plugin mounts: every route asks for a login first, and then for the permission to read the DAG."""

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import NoReturn

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from dtx_tasks.errors import DtxError
from dtx_tasks.settings import root as storage_root
from dtx_tasks.storage import read_bytes
from dtx_tasks.web.experiment import RunExperiment, find_experiment
from dtx_tasks.web.login import LOGGED_IN, READS_RUN, READS_TASK, STARTS_RUN
from dtx_tasks.web.pages import message_page, run_page, task_page
from dtx_tasks.web.upload import take_rows

RUN = "/dags/{dag_id}/runs/{run_id}"

PAGE_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
# A report carries its own style and runs nothing, whatever may have got into it.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox"

HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}

ASSETS = {"page.css": "text/css", "page.js": "text/javascript"}

TITLES = {401: "请重新登录 Please log in again", 403: "没有权限 Not allowed", 404: "这里没有内容 Nothing here"}
LOGIN = "会话已过期，请重新加载 Airflow。The session has ended: reload Airflow to log in."
NO_EXPERIMENT = (
    "此运行尚无实验：若刚刚启动，请稍候；若任务 plan 失败，原因见其日志。"
    "This run has no experiment yet. If it has just begun, wait a moment; if its task `plan` failed, that task's log says why."
)
NO_REPORT = "报告由任务 report 在最后写出。The report is written at the end, by the task `report`."


def make_app() -> FastAPI:
    """The app, without the pages about itself that FastAPI would show to anyone."""
    app = FastAPI(title="DTX", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, dependencies=[LOGGED_IN])
    html: dict[str, type[Response]] = {"response_class": HTMLResponse}
    app.get(RUN, dependencies=[READS_RUN], **html)(_show_run)
    app.get(f"{RUN}/report", dependencies=[READS_RUN], **html)(_show_report)
    app.get(f"{RUN}/tasks/{{task_id}}", dependencies=[READS_RUN, READS_TASK], **html)(_show_task)
    app.post("/dags/{dag_id}/rows/{name}", dependencies=[STARTS_RUN])(take_rows)
    app.get("/assets/{name}")(_asset)
    app.middleware("http")(_with_headers)
    app.exception_handler(AnyHTTPException)(_explain_refusal)
    app.exception_handler(DtxError)(_explain_failure)
    return app


def _show_run(request: Request, dag_id: str, run_id: str) -> str:
    return run_page(_experiment(dag_id, run_id), _root(request))


def _show_task(request: Request, dag_id: str, run_id: str, task_id: str, map_index: str = "") -> str:
    """The page of a mapped task; that of the run where Airflow left its placeholder, since the task is not mapped."""
    it = _experiment(dag_id, run_id)
    if not map_index.isdecimal():
        return run_page(it, _root(request))
    document = it.document(task_id, int(map_index))
    if document is None:
        _refuse("此任务没有对应的内容。The plan of this run has nothing for this task.")
    return task_page(it, document, task_id, _root(request))


def _show_report(dag_id: str, run_id: str) -> Response:
    try:
        content = read_bytes(f"{_experiment(dag_id, run_id).folder}/report.html")
    except FileNotFoundError:
        _refuse(NO_REPORT)
    return HTMLResponse(content, headers={"Content-Security-Policy": REPORT_POLICY})


def _asset(name: str) -> Response:
    if name not in ASSETS:
        _refuse("")
    return Response((files("dtx_tasks.web") / "assets" / name).read_bytes(), media_type=ASSETS[name])


def _experiment(dag_id: str, run_id: str) -> RunExperiment:
    found = find_experiment(storage_root(), dag_id, run_id)
    if found is None:
        _refuse(NO_EXPERIMENT)
    return found


def _refuse(message: str) -> NoReturn:
    raise HTTPException(404, message)


def _explain_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    if request.method != "GET":
        return JSONResponse({"detail": error.detail}, error.status_code, headers=dict(error.headers or {}))
    message = LOGIN if error.status_code == 401 else str(error.detail)
    page = message_page(TITLES.get(error.status_code, str(error.status_code)), message, _root(request), refreshes=message in (NO_EXPERIMENT, NO_REPORT))
    return HTMLResponse(page, error.status_code, headers=dict(error.headers or {}))


def _explain_failure(request: Request, error: Exception) -> Response:
    if request.method != "GET":
        return JSONResponse({"detail": str(error)}, 503)
    return HTMLResponse(message_page("暂时无法读取 Cannot be read now", str(error), _root(request), refreshes=True), 503)


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in {**HEADERS, "Content-Security-Policy": PAGE_POLICY}.items():
        response.headers.setdefault(name, value)
    return response


def _root(request: Request) -> str:
    """The path that the app is mounted at, with the one that Airflow is reached by."""
    return str(request.scope.get("root_path", "")).rstrip("/")
