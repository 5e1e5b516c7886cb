"""A Debian package is built in a copy-on-write view: its changes, committed, are a native build's."""

from __future__ import annotations

import os
import shutil
import textwrap
import time

import pytest

from helpers.counting import (
    ENGINES,
    census,
    census_inside,
    changes,
    committed,
    listed,
    older,
    told_by_diff,
    unlike,
)
from helpers.grounds import Ground, good

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not all(map(shutil.which, ("dpkg-buildpackage", "make", "gcc"))),
        reason="needs dpkg-dev, gcc",
    ),
]
OLD, EPOCH = 1_500_000_000, 1_600_000_000

SOURCE = {
    "debian/control": """
        Source: greeter
        Maintainer: Nobody <nobody@example.org>
        Rules-Requires-Root: no

        Package: greeter
        Architecture: any
        Depends: ${shlibs:Depends}
        Description: says hello
         And nothing else.
        """,
    "debian/changelog": """
        greeter (1.0) unstable; urgency=low

          * First.

         -- Nobody <nobody@example.org>  Sun, 13 Sep 2020 12:26:40 +0000
        """,
    "debian/rules": """
        #!/usr/bin/make -f
        top = debian/greeter
        build build-arch build-indep:
        \t$(MAKE)
        clean:
        \t$(MAKE) clean
        \trm -rf $(top) debian/files debian/substvars
        binary binary-arch: build
        \tinstall -d $(top)/usr/bin $(top)/usr/share/greeter $(top)/DEBIAN
        \tinstall -s greeter $(top)/usr/bin
        \tln $(top)/usr/bin/greeter $(top)/usr/bin/hello
        \tln -s greeter $(top)/usr/bin/hi
        \tinstall -m 640 words generated.h $(top)/usr/share/greeter
        \tdpkg-shlibdeps $(top)/usr/bin/greeter
        \tdpkg-gencontrol -P$(top)
        \tfind $(top) -newermt @$(SOURCE_DATE_EPOCH) -exec touch -hd @$(SOURCE_DATE_EPOCH) {} +
        \tdpkg-deb --root-owner-group --build $(top) ..
        binary-indep:
        """,
    "debian/substvars": "",
    "Makefile": """
        greeter: main.o words.a
        \t$(CC) -o $@ $^
        main.o: main.c generated.h
        words.a: word1.o word2.o word3.o
        \t$(AR) rD $@ $^
        generated.h: words
        \tsed 's/.*/#define WORD "&"/' $< >$@.new && mv $@.new $@
        clean:
        \trm -f greeter *.o *.a generated.h
        \trmdir --ignore-fail-on-non-empty old
        """,
    "main.c": """
        #include <stdio.h>
        #include "generated.h"
        int word1(void), word2(void), word3(void);
        int main(void) { return printf(WORD "%d\\n", word1() + word2() + word3()) < 0; }
        """,
    "words": "hello\n",
    "stale.o": "left over",
    "old/stale.a": "left over",
} | {f"word{n}.c": f"int word{n}(void) {{ return {n}; }}\n" for n in (1, 2, 3)}


def unpack(ground: Ground) -> None:
    """The source, older than all that is made of it."""
    ground.fresh()
    top = ground.work / "greeter-1.0"
    for name, text in SOURCE.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    (top / "debian/rules").chmod(0o755)
    for path in (*ground.work.rglob("*"), ground.work):
        if os.geteuid() == 0:
            os.chown(path, ground.user.uid, ground.user.uid)
        os.utime(path, (OLD, OLD))


# The date of a build would be in the only file that differs from build to build, and in its sum.
BUILD = f"""
cd greeter-1.0
export SOURCE_DATE_EPOCH={EPOCH}
dpkg-buildpackage -us -uc -b --hook-changes='sed -i /^Build-Date/d ../*.buildinfo' >../log 2>&1 ||
    {{ cat ../log; exit 1; }}
rm ../log; cd ..
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_package_built_in_a_view_and_committed_is_one_built_natively(ground_in_memory, engine):
    ground = ground_in_memory
    unpack(ground)
    begin = time.time_ns() - 10**9
    before = census(ground.work)
    good(ground.native("sh", "-c", BUILD))
    native = census(ground.work)
    names = {path.rpartition("/")[2].partition("_")[0] for path in native}
    assert {"greeter", "hi", "hello", "words.a"} <= names

    unpack(ground)
    shown = census_inside(ground, engine, BUILD)
    assert unlike(before, census(ground.work)) == []
    assert listed(told_by_diff(ground)) == listed(changes(before, native))
    good(ground.native("viewos", "commit", "--layer", "@kept"))
    now = census(ground.work)
    assert unlike(committed(before, shown), now) == []
    assert unlike(older(native, begin), older(now, begin)) == []
