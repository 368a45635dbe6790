"""What /openapi.json promises holds, as far as schemathesis finds out: it makes calls of the description, good ones and bad ones."""

from collections import Counter
from unittest import SkipTest

import pytest
import schemathesis
from client import png
from frames import discs
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as how
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from rest import Rest, problem
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

IMAGES = st.sampled_from([png(discs(64, 48)), png(discs(33, 70, seed=1)), b"", b"\x89PNG\r\n\x1a\n", b"no image"])
for kind in ("image/png", "image/tiff", "image/jpeg", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, IMAGES)

# Left out: negative_data_rejection, since protobuf's JSON takes more than it gives (a number as text, null, camelCase), and
# positive_data_acceptance, since a model's name or a file's bytes are right or wrong for reasons that no schema tells.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
BOUNDED = how(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def rest(tmp_path_factory, tiny_model):
    one_model = f'models = ["{tiny_model}"]\n[engine]\nkind = "rten"\n'
    with Rest(tmp_path_factory.mktemp("openapi"), one_model, "[auth.infer]\nsessions = 64") as rest:
        yield rest


def check(rest: Rest, case, of_a_session: bool) -> int:
    """Makes a call, of a session that there is or of one that there is none, holds its answer against the description, and says its
    status."""
    opened = None
    if of_a_session:
        opened = rest.post("/v1/sessions").json()["session"]
        case.path_parameters["session"] = opened
    answer = case.call(timeout=60)
    case.validate_response(answer, checks=CHECKS)
    [kind] = answer.headers["content-type"]
    assert answer.status_code < 400 or kind == "application/problem+json" or case.path in ("/livez", "/readyz"), kind
    if opened:
        rest.call("DELETE", f"/v1/sessions/{opened}")
    elif answer.status_code == 201:
        assert rest.call("DELETE", answer.headers["location"][0]).ok
    return answer.status_code


@pytest.mark.parametrize("mode", GenerationMode)
def test_what_is_described_holds(rest, mode):
    described = schemathesis.openapi.from_url(f"{rest.url}/openapi.json")
    seen = Counter()
    for found in described.get_all_operations():
        operation = found.ok()
        knows_sessions = [False, True] if "{session}" in operation.path else [False]
        for of_a_session in knows_sessions:

            @BOUNDED
            @given(case=operation.as_strategy(generation_mode=mode))
            def holds(case):
                status = check(rest, case, of_a_session)
                seen[case.method, case.operation.path, status] += 1

            try:
                holds()
            except (Unsatisfiable, SkipTest):
                # Nothing about this call can be wrong.
                assert mode == GenerationMode.NEGATIVE and not operation.query and not operation.body
    assert seen.total() > 100, seen
    if mode == GenerationMode.POSITIVE:
        well = {(method, path) for method, path, status in seen if status < 300}
        assert len(well) == 11, seen
    else:
        assert {400, 404} <= {status for *_, status in seen}, seen
    print(*sorted(seen.items()), sep="\n")


def test_no_session_is_left(rest):
    assert rest.sessions() == []
    assert problem(rest.call("GET", "/v1/sessions/none"))[0] == 404
