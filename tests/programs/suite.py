"""Tests of what the standard library does with processes, threads, signals and sockets."""

# ruff: noqa: PT009, PT027  (unittest: it runs where there is no pytest)

import asyncio
import concurrent.futures
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest


def square(x):
    return x * x


class Processes(unittest.TestCase):
    def test_many_children(self):
        for i in range(20):
            done = subprocess.run(["sh", "-c", f"cat; exit {i}"], input=b"x", capture_output=True)
            self.assertEqual((done.returncode, done.stdout), (i, b"x"))

    def test_a_missing_program(self):
        with self.assertRaises(FileNotFoundError):
            subprocess.run(["/nonexistent"])

    def test_a_timeout_kills(self):
        with self.assertRaises(subprocess.TimeoutExpired):
            subprocess.run(["sleep", "100"], timeout=0.1)

    def test_descriptors_are_passed_and_others_are_not(self):
        reader, writer = os.pipe()
        subprocess.run(["sh", "-c", f"echo hello >&{writer}"], pass_fds=[writer], check=True)
        self.assertEqual(os.read(reader, 10), b"hello\n")
        self.assertNotEqual(
            subprocess.run(["sh", "-c", f": <&{reader}"], stderr=subprocess.DEVNULL).returncode, 0
        )
        os.close(reader)
        os.close(writer)

    def test_pool_of_processes(self):
        for method in ("fork", "spawn", "forkserver"):
            with multiprocessing.get_context(method).Pool(3) as pool:
                self.assertEqual(pool.map(square, range(50)), [x * x for x in range(50)])

    def test_executor(self):
        with concurrent.futures.ProcessPoolExecutor(2) as pool:
            self.assertEqual(list(pool.map(square, range(20))), [x * x for x in range(20)])

    def test_queue_and_lock_between_processes(self):
        queue, lock = multiprocessing.Queue(), multiprocessing.Lock()

        def work(n):
            for i in range(30):
                with lock:
                    queue.put((n, i))

        several = [multiprocessing.Process(target=work, args=(n,)) for n in range(3)]
        for one in several:
            one.start()
        got = sorted(queue.get(timeout=60) for _ in range(90))
        for one in several:
            one.join()
        self.assertEqual(got, [(n, i) for n in range(3) for i in range(30)])

    def test_shared_memory(self):
        from multiprocessing.shared_memory import SharedMemory

        memory = SharedMemory(create=True, size=4096)
        try:
            pid = os.fork()
            if pid == 0:
                memory.buf[0] = 77
                os._exit(0)
            os.waitpid(pid, 0)
            self.assertEqual(memory.buf[0], 77)
        finally:
            memory.close()
            memory.unlink()


class Threads(unittest.TestCase):
    def test_threads_that_open_files_and_fork(self):
        wrong = []

        def work():
            for _ in range(40):
                with open("/etc/passwd") as file:
                    if not file.read():
                        wrong.append("read")
                if subprocess.run(["true"]).returncode:
                    wrong.append("true")

        several = [threading.Thread(target=work) for _ in range(6)]
        for one in several:
            one.start()
        for one in several:
            one.join()
        self.assertEqual(wrong, [])


class Signals(unittest.TestCase):
    def test_a_timer_while_calls_are_made(self):
        count = 0

        def handler(*_):
            nonlocal count
            count += 1

        old = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            end = time.monotonic() + 60
            while count < 200 and time.monotonic() < end:
                # Calls that Python makes again after EINTR (PEP 475): in a view a call that is
                # stopped may end with it, whatever call it is.
                with open("/etc/passwd", "rb") as file:
                    self.assertTrue(file.read())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        self.assertGreaterEqual(count, 200)

    def test_a_signal_ends_a_child(self):
        child = subprocess.Popen(["sleep", "100"])
        child.send_signal(signal.SIGTERM)
        self.assertEqual(child.wait(), -signal.SIGTERM)

    def test_wait_for_a_signal(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        os.kill(os.getpid(), signal.SIGUSR1)
        info = signal.sigtimedwait({signal.SIGUSR1}, 30)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        self.assertEqual((info.si_signo, info.si_pid), (signal.SIGUSR1, os.getpid()))


class Asyncio(unittest.TestCase):
    def test_subprocesses_and_streams(self):
        async def main():
            async def child(n):
                process = await asyncio.create_subprocess_exec(
                    "sh", "-c", f"cat; exit {n}", stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
                out, _ = await process.communicate(b"data")
                return process.returncode, out

            return await asyncio.gather(*(child(n) for n in range(8)))

        self.assertEqual(asyncio.run(main()), [(n, b"data") for n in range(8)])

    def test_a_server(self):
        async def main():
            async def serve(reader, writer):
                writer.write((await reader.readline()).upper())
                await writer.drain()
                writer.close()

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]

            async def ask(i):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"line %d\n" % i)
                line = await reader.readline()
                writer.close()
                return line

            async with server:
                return await asyncio.gather(*(ask(i) for i in range(20)))

        self.assertEqual(asyncio.run(main()), [b"LINE %d\n" % i for i in range(20)])


class Files(unittest.TestCase):
    def test_a_tree_is_made_copied_and_removed(self):
        place = tempfile.mkdtemp()
        for i in range(10):
            os.makedirs(f"{place}/a/b{i}/c")
            with open(f"{place}/a/b{i}/f", "w") as file:
                file.write(str(i))
        shutil.copytree(f"{place}/a", f"{place}/copy")
        self.assertEqual(sorted(os.listdir(f"{place}/copy")), [f"b{i}" for i in range(10)])
        shutil.rmtree(place)
        self.assertFalse(os.path.exists(place))

    def test_descriptors_over_a_socket(self):
        one, other = socket.socketpair()
        with one, other, open("/etc/passwd") as file:
            socket.send_fds(one, [b"x"], [file.fileno()])
            _, fds, _, _ = socket.recv_fds(other, 1, 1)
            self.assertTrue(os.path.samestat(os.fstat(fds[0]), os.fstat(file.fileno())))
            os.close(fds[0])


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    unittest.main(argv=[sys.argv[0]])
