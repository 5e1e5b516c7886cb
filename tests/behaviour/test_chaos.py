"""Programs do not notice that answers are late, or now the kernel's and now ours; and a bug is EIO."""

from __future__ import annotations

import pytest

from viewosd.testing import services
from viewosd.testing.view import WAYS

PROGRAMS = {
    "python": ["/usr/bin/python3", "-c", "import json, email, decimal; open('x', 'w').write('y'); print(open('x').read())"],
    "shell": ["sh", "-c", "mkdir a; echo hi > a/f; cp -a a b; mv b c; ls -lR --time-style=+ a c | grep -v total; rm -r a c; ls | wc -l"],
    "tar": ["sh", "-c", "mkdir d; for i in 1 2 3 4 5; do echo $i > d/$i; done; ln -s 1 d/l; tar cf t d; rm -r d; tar xf t; cat d/*; find d | sort"],
    "pipes": ["sh", "-c", "for i in 1 2 3 4 5 6; do (echo $i | cat | tr 1-6 a-f) & done; wait"],
    "unprivileged": ["sh", "-c", "cat /etc/shadow > /dev/null 2>&1; test -w /etc/passwd; touch /etc/passwd/x 2>/dev/null; echo $?"],
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("service", ["Slow,seconds=0.002", *(f"Chaos,seed={s}" for s in (1, 2, 3))])
def test_a_program_under_late_and_random_answers(agree, name, service):
    natively = {"natively": WAYS["natively"], service: [f"{services.PATH}:{service}"]}
    words = PROGRAMS[name]
    sort = ["sh", "-c", '"$@" | sort', "sort", *words] if name == "pipes" else words
    outcome = agree.runner.compare(sort, agree._prepare, natively, cwd=agree.place, umask=0o022)
    assert outcome.status == 0


def test_a_bug_of_a_service_is_eio_for_its_call_and_nothing_else(agree):
    wanted = [f"{services.PATH}:Faulty,every=3,call=access"]
    agree._prepare()
    script = 'import os\nfor _ in range(6):\n  for f in (os.access, os.stat):\n    try: print(bool(f("/etc/passwd", **({"mode": 4} if f is os.access else {}))))\n    except OSError as e: print(e.errno)\n'
    outcome = agree.runner.run(["/usr/bin/python3", "-ISc", script], wanted, cwd=agree.place)
    # Python's access() tells no errno: False is its EIO.
    assert outcome.status == 0
    assert outcome.lines.count("False") == 2
    assert outcome.lines.count("True") == 10
