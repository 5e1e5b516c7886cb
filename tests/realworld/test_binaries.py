"""Programs by how they are made: static, of another width, with a runtime of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.alike import Alike, needs


@pytest.mark.parametrize(
    "options", [(), ("-static",), ("-m32",), ("-m32", "-static")], ids="-".join
)
def test_a_c_program_of_any_build(
    alike_for_all: Alike, program: Callable[..., str], options: tuple[str, ...]
) -> None:
    ours = alike_for_all.check(program("hello", *options), status=3)
    assert (b"32 bits" if "-m32" in options else b"64 bits") in ours.stdout


BUSYBOX = """
b=$1
$b mkdir -p d/e; $b seq 1 20 > d/f; $b ln -s f d/l; $b tar cf t.tar d; $b tar tf t.tar
$b find d | $b sort; $b ls -l d | $b wc -l; $b sha256sum d/f; $b awk '{s+=$1} END {print s}' d/f
$b vi -h 2>&1 | $b head -1; $b false || echo $?
"""


def test_a_static_busybox_as_shell_and_tools(alike_for_all: Alike) -> None:
    needs("busybox")
    alike_for_all.check("busybox", "sh", "-c", BUSYBOX, "sh", "busybox", ignore=["t.tar"])


GO = """
package main

import ("fmt"; "os"; "os/exec"; "sync"; "time")

func spin(n int) int { s := 0; for i := 0; i < n; i++ { s ^= i * i }; return s }

func main() {
	// Loops without calls, longer than a time slice: the runtime preempts them by SIGURG.
	var group sync.WaitGroup
	var lock sync.Mutex
	total := 0
	for g := 0; g < 8; g++ {
		group.Add(1)
		go func(g int) {
			defer group.Done()
			for i := 0; i < 20; i++ {
				s := spin(3000000)
				text, err := os.ReadFile("/etc/passwd")
				if err != nil { panic(err) }
				name := fmt.Sprintf("file-%d-%d", g, i)
				if err := os.WriteFile(name, text, 0644); err != nil { panic(err) }
				if _, err := os.Stat(name); err != nil { panic(err) }
				lock.Lock(); total += s & 1 + len(text); lock.Unlock()
			}
		}(g)
	}
	for i := 0; i < 5; i++ {
		out, err := exec.Command("/bin/echo", "child").Output()
		if err != nil { panic(err) }
		fmt.Print(string(out))
		time.Sleep(time.Millisecond)
	}
	group.Wait()
	fmt.Println(total)
	os.Exit(5)
}
"""


@pytest.fixture(scope="session")
def go_program(scratch: Path) -> str:
    import subprocess

    needs("go")
    (scratch / "main.go").write_text(GO)
    environment = os.environ | {
        "GOCACHE": str(scratch / "go-cache"),
        "GOFLAGS": "-mod=mod",
        "GO111MODULE": "off",
    }
    target = str(scratch / "go-program")
    subprocess.run(
        ["go", "build", "-o", target, str(scratch / "main.go")],
        env=environment,
        check=True,
        timeout=600,
    )
    return target


def test_goroutines_that_are_preempted_by_a_signal(alike: Alike, go_program: str) -> None:
    alike.check(go_program, status=5)


def test_perl_with_files_forks_and_sockets(alike: Alike) -> None:
    needs("perl")
    script = r"""
        use strict; use IO::Socket::INET; use File::Temp; use POSIX;
        open(my $f, '>', 'out') or die; print $f "line $_\n" for 1..100; close $f;
        my $server = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!;
        my $port = $server->sockport;
        my $child = fork; if (!$child) {
            my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die $!;
            print $c "hello\n"; exit 4;
        }
        my $peer = $server->accept; print "got ", <$peer>; waitpid $child, 0; print $? >> 8, "\n";
        print `echo from a shell`; print join(',', (POSIX::uname())[0]), "\n";
        local $SIG{ALRM} = sub { die "alarm\n" }; alarm 1; eval { sleep 10 }; print $@;
        kill 'USR1', $$ if 0; print scalar(getpwuid($<)), "\n"; exit 6;
    """
    alike.check("perl", "-e", script, status=6)


def test_node_with_workers_children_and_sockets(alike: Alike) -> None:
    needs("node")
    script = r"""
        const fs = require('fs'), net = require('net'), cp = require('child_process');
        const {Worker} = require('worker_threads');
        fs.writeFileSync('out', 'x'.repeat(1000)); console.log(fs.statSync('out').size);
        const server = net.createServer(s => s.end('hello')).listen(0, '127.0.0.1', () => {
            net.connect(server.address().port, '127.0.0.1').on('data', d => {
                console.log(d.toString()); server.close();
                console.log(cp.execSync('echo child').toString());
                new Worker("require('fs').readdirSync('/etc'); setTimeout(() => {}, 10)", {eval: true})
                    .on('exit', c => { console.log('worker', c); process.exitCode = 9; });
            });
        });
    """
    alike.check("node", "-e", script, status=9)


def test_java_starts(alike: Alike) -> None:
    needs("java")
    alike.check("java", "-version")
