"""A permission check, `permission in permissions_of(actor, …)`, against pycasbin's `enforce`.

Both sides know the same roles and the same bindings of the same person and are asked the same
questions; every answer is compared before anything is measured. pycasbin has the usual model of
roles within domains, with the organization's roles counting in its projects.
"""

from __future__ import annotations

import logging
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable

import casbin
import django

from benchmarks.measure import Line, Sizes, interleaved, ratio

MODEL = """
[request_definition]
r = sub, org, dom, act
[policy_definition]
p = sub, act
[role_definition]
g = _, _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.act == p.act && (g(r.sub, p.sub, r.dom) || g(r.sub, p.sub, r.org))
"""
PERSON = "bob"


def run(sizes: Sizes) -> list[Line]:
    """The lines of this benchmark."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    with tempfile.TemporaryDirectory() as home:
        os.environ.setdefault("TAMARACK_HOME", home)
        django.setup()
        logging.getLogger("casbin").setLevel(logging.WARNING)
        return _measured(sizes)


def _measured(sizes: Sizes) -> list[Line]:
    # Importable only after django.setup().
    from orgs.actors import Actor, Binding  # noqa: PLC0415
    from orgs.permissions import ROLES, Permission, Role, permissions_of  # noqa: PLC0415

    organization, other = uuid.uuid4(), uuid.uuid4()
    projects = [uuid.uuid4() for _ in range(4)]
    # A member of the organization with a role on three of its four projects.
    bindings = (
        Binding(Role.ORG_MEMBER, organization),
        Binding(Role.PROJECT_MANAGER, organization, projects[0]),
        Binding(Role.PROJECT_MEMBER, organization, projects[1]),
        Binding(Role.DATA_PLANE_EDITOR, organization, projects[1]),
        Binding(Role.CONTROL_PLANE_VIEWER, organization, projects[2]),
    )
    actor = Actor(kind="user", id=str(uuid.uuid4()), label=PERSON, bindings=bindings)
    questions = [
        (org, project, permission)
        for org, project in [(organization, each) for each in (None, *projects)] + [(other, None)]
        for permission in Permission
    ]
    enforcer = _enforcer(
        {role.value: {each.value for each in allowed} for role, allowed in ROLES.items()},
        [(each.role, str(each.project_id or each.organization_id)) for each in bindings],
    )
    asked = [
        (PERSON, str(org), str(project or org), permission.value)
        for org, project, permission in questions
    ]
    for (org, project, permission), theirs in zip(questions, asked, strict=True):
        ours = permission in permissions_of(actor, organization_id=org, project_id=project)
        assert ours == enforcer.enforce(*theirs), (org, project, permission)

    def mine() -> float:
        began = time.perf_counter()
        for _ in range(sizes.of(100, 10)):
            for org, project, permission in questions:
                permission in permissions_of(actor, organization_id=org, project_id=project)  # noqa: B015
        return sizes.of(100, 10) * len(questions) / (time.perf_counter() - began)

    def casbins() -> float:
        began = time.perf_counter()
        for question in asked:
            enforcer.enforce(*question)
        return len(asked) / (time.perf_counter() - began)

    sides: dict[str, Callable[[], float]] = {"permissions_of": mine, "pycasbin": casbins}
    rates = interleaved(sides, sizes.rounds)
    return [
        ratio(
            "permission check against pycasbin",
            rates["permissions_of"],
            rates["pycasbin"],
            limit=20,
            at_least=True,
            detail={
                f"{name}_per_s": round(statistics.median(all_)) for name, all_ in rates.items()
            },
        )
    ]


def _enforcer(roles: dict[str, set[str]], held: list[tuple[str, str]]) -> casbin.Enforcer:
    """pycasbin with the role table as policies and what the person holds as groupings."""
    model = casbin.Model()
    model.load_model_from_text(MODEL)
    enforcer = casbin.Enforcer(model)
    enforcer.add_policies([[role, act] for role in roles for act in sorted(roles[role])])
    enforcer.add_grouping_policies([[PERSON, role, where] for role, where in held])
    return enforcer
