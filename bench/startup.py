"""Time to ready with model and environment in place, the CPU time of it, and what the API process holds then."""

from __future__ import annotations

from bench.client import Ask
from bench.harness import Sample, Session, main
from bench.prompts import chat
from bench.results import at_most
from bench.servers import completionist

TITLE = "Start of the server"


def measure(session: Session) -> None:
    def start() -> Sample:
        with completionist(session.options, streams=None, context_tokens=None) as server:
            cpu_s, api_cpu_s = server.cpu_s(), server.api_cpu_s()
            resident_mb = server.process.memory_info().rss / 10**6
            ttft_s = server.run([Ask(messages=chat("Say hello."), max_tokens=2)]).answers[0].ttft_s
            return {
                "ready": server.ready_s,
                "answer": server.ready_s + ttft_s,
                "api": api_cpu_s,
                "others": cpu_s - api_cpu_s,
                "resident": resident_mb,
            }

    start()  # the file's digest and the disk cache are there from now on
    samples = session.repeat(start)
    session.value("from the command to ready", "s", [sample["ready"] for sample in samples], at_most(3))
    session.value("from the command to the first token of an answer", "s", [sample["answer"] for sample in samples])
    session.value("CPU until ready, API process", "s", [sample["api"] for sample in samples])
    session.value("CPU until ready, worker and renderer", "s", [sample["others"] for sample in samples])
    session.value("API process when ready", "MB", [sample["resident"] for sample in samples], at_most(150))


if __name__ == "__main__":
    main("startup", TITLE, measure)
