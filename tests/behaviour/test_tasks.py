"""Threads, forks and programs: whose directory, whose descriptors, whose memory."""

from __future__ import annotations

import pytest


def test_threads_with_a_working_directory_of_their_own(agree, program):
    assert agree(program("tasks"), "cwd").lines == ["320 of 320"]


def test_threads_with_a_table_of_descriptors_of_their_own(agree, program):
    assert agree(program("tasks"), "files").lines == ["320 of 320"]


@pytest.mark.parametrize("flags", [(), ("-m32",)], ids=" ".join)
def test_calls_of_a_vfork_child(agree, program, flags):
    assert agree(program("tasks", *flags), "vfork").lines == ["done"]


def test_a_file_just_written_can_be_executed(agree, program):
    outcome = agree(program("tasks"), "busy", program("names", "-static"))
    assert outcome.lines == ["while it is written: ETXTBSY", "0 failed"]


def test_a_storm_of_forks_and_pipelines(agree):
    script = 'i=0; while [ $i -lt 60 ]; do echo $i | cat | { read x; echo "$x" > f$i; test -e f$i; } & i=$((i+1)); done; wait; cat f* | sort -n | tail -1; ls | wc -l'
    assert agree("sh", "-c", script).lines == ["59", "60"]


def test_many_threads_open_the_same_files_at_once(agree):
    outcome = agree.python("""
errors, count = [], []
def work(n):
    for i in range(40):
        try:
            name = f"f{n}"
            with open(name, "w") as f: f.write(str(i))
            assert os.stat(name).st_size == len(str(i)); os.rename(name, name + "x"); os.unlink(name + "x")
            with open("/etc/hostname") as f: f.read()
            count.append(1)
        except Exception as error: errors.append(error)
threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
for t in threads: t.start()
for t in threads: t.join()
print(len(count), errors, os.listdir("."))
""")
    assert outcome.lines == ["640 [] []"]


def test_a_process_killed_in_the_middle_of_a_call_leaves_the_others_alone(agree):
    outcome = agree.python("""
for i in range(60):
    pid = os.fork()
    if not pid:
        while True: os.stat("/etc/passwd"); os.close(os.open("/etc/passwd", 0))
    time.sleep(0.001 * (i % 5)); os.kill(pid, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == 9
    assert os.stat("/etc/passwd")
print("alive")
""")
    assert outcome.lines == ["alive"]


def test_the_status_of_every_end(agree):
    for script, status in (
        ("exit 7", 7),
        ("kill -9 $$", 137),
        ("kill -SEGV $$", 139),
        ("exec /nonexistent", 127),
        ("exec /etc/passwd", 126),
    ):
        assert agree("sh", "-c", f"ulimit -c 0; {script}").status == status
