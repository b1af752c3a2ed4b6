"""Who is where: gives sequences their streams, with as much of the prompt as an earlier one left, and takes them back.

A sequence starts in the wide context if it fits, and moves on to the long one when it has filled its stream. Where the wide one
is full it may start among the short streams, if it will never outgrow them.
"""

from __future__ import annotations

from collections import Counter, deque

import numpy as np

from completionist.engine.llama.blocks import LEAST_ROWS
from completionist.engine.llama.insets import resumable
from completionist.engine.llama.keeping import Lifetime
from completionist.engine.llama.prefixes import Entry, PrefixCache
from completionist.engine.llama.runner import DecodeFailed
from completionist.engine.llama.sequence import Account, Request, Sequence
from completionist.engine.llama.state import State
from completionist.engine.llama.streams import Streams

_WORTH_WAITING_FOR_TOKENS = 64
"""So much of a prompt is worth a wait of one request, or a copy."""
_WORTH_KEEPING_TOKENS = 16


class MemoryCorrupt(Exception):
    """The books and the library disagree about what is in memory: going on would answer from the wrong cells."""


class Memory:
    """Streams of all contexts and the prefix cache over them."""

    def __init__(
        self,
        pools: list[Streams],
        prefixes: PrefixCache,
        *,
        short: Streams | None = None,
        window_tokens: int,
        checkpoints_only: bool,
        block_rows: int,
    ) -> None:
        """`pools` are those of the wide context and, where there is one, of the long one. A prompt that comes alone is
        continued at a multiple of `block_rows` (see `blocks`), unless the client says where."""
        self.pools = [*pools, short] if short else pools
        """Every context's."""
        self._wide, self._long, self._short = pools[0], pools[-1], short
        self.prefixes = prefixes
        self._window_tokens = window_tokens
        self._checkpoints_only = checkpoints_only
        self._can_trim = not checkpoints_only and not window_tokens
        self._block_rows = block_rows
        self._parked: deque[tuple[Sequence, State]] = deque()

    @property
    def capacity_tokens(self) -> int:
        """The most one sequence can hold."""
        return self._long.capacity_tokens

    @property
    def can_take_back(self) -> bool:
        """What a stream has taken in can be taken back in part."""
        return not self._checkpoints_only

    @property
    def n_free(self) -> int:
        return sum(pool.n_free for pool in self.pools)

    @property
    def n_free_for_any(self) -> int:
        """Without the short ones, which not everybody can have."""
        return self.n_free - (self._short.n_free if self._short else 0)

    @property
    def n_streams(self) -> int:
        return sum(pool.context.n_streams for pool in self.pools)

    @property
    def _is_busy(self) -> bool:
        return self.n_free < self.n_streams or bool(self._parked)

    def running(self) -> list[Sequence]:
        """Every sequence that has begun, those between two streams too."""
        return [sequence for pool in self.pools for sequence in pool.holders()] + [pair[0] for pair in self._parked]

    def by_account(self) -> Counter[Account]:
        return Counter(sequence.request.account for sequence in self.running())

    def free_pools(self, request: Request) -> list[Streams]:
        """Those with a free stream in which a choice of `request` can start, best first."""
        home = self._wide if len(request.tokens) < self._wide.capacity_tokens else self._long
        most_tokens = len(request.tokens) + (request.max_tokens or self.capacity_tokens)
        pools = [] if home is self._long and self._parked else [home]
        if self._short and most_tokens <= self._short.capacity_tokens:
            pools.append(self._short)
        return [pool for pool in pools if pool.n_free]

    def is_short(self, pool: Streams) -> bool:
        """Whether it is that of the short streams, which are there for who finds no other."""
        return pool is self._short

    def awaits_prompt(self, request: Request, n_waiting: int) -> bool:
        """Whether its prompt is being computed, or much of it: a choice of `request` waits rather than do it again. Where
        `n_waiting` requests wait, all of them might, so that less is worth it."""
        n_least = max(_WORTH_KEEPING_TOKENS, _WORTH_WAITING_FOR_TOKENS // max(1, n_waiting))
        is_known = request.prompt_state is not None
        return request.is_prompt_underway or (not is_known and self._is_being_computed(request, n_least))

    def n_kept(self, request: Request, n_tokens: int) -> int:
        """Of the first `n_tokens` of a choice of `request`, how many will be found by others."""
        return request.keeping.n_kept(n_tokens, can_trim=self._can_trim) if self.prefixes.is_enabled else 0

    def place(self, sequence: Sequence, pool: Streams) -> None:
        """Give `sequence` a stream of `pool`, one of `free_pools`, with the longest start of its prompt that can be had."""
        request = sequence.request
        if request.prompt_state is not None:
            stream = self._clear(pool, pool.candidates()[0])
            if not pool.context.restore(stream, request.prompt_state):
                raise DecodeFailed("a copy of the prompt's state was refused")
            sequence.n_cells = len(request.tokens)
            pool.take(sequence, stream)
            return
        stream, n_cells = self._with_prefix(pool, sequence)
        sequence.n_cells = sequence.n_cached = n_cells
        pool.take(sequence, stream)
        if n_kept := self.n_kept(request, len(request.tokens)):
            sequence.entry = Entry(
                project=request.project,
                tokens=request.prompt[:n_kept],
                lifetime=self._lifetime(sequence),
                sequence=sequence,
            )
            self.prefixes.add(sequence.entry)

    def take_back(self, sequence: Sequence, n_tokens: int) -> None:
        """The last `n_tokens` in the stream of a sequence were guessed wrong. Where they cannot be taken back alone, all
        of it is, and will be computed again."""
        if not n_tokens or sequence.pool is None:
            return
        sequence.n_cells -= n_tokens
        if not sequence.pool.context.trim(sequence.stream, sequence.n_cells, self._window_tokens):
            sequence.n_cells = 0

    def free(self, sequence: Sequence, *, keep: bool = True) -> None:
        """Take the stream of a sequence back; what it holds stays findable if `keep`."""
        if sequence.entry is not None:
            self.prefixes.remove(sequence.entry)
            sequence.entry = None
        self._parked = deque(pair for pair in self._parked if pair[0] is not sequence)
        pool = sequence.pool
        if pool is None:
            return
        stream = pool.release(sequence)
        n_kept = self.n_kept(sequence.request, sequence.n_cells) if keep else 0
        if n_kept >= _WORTH_KEEPING_TOKENS and self._is_cut(pool, stream, n_kept):
            entry = Entry(
                project=sequence.request.project,
                tokens=np.array(sequence.tokens[:n_kept], np.int32),
                lifetime=self._lifetime(sequence),
                pool=pool,
                stream=stream,
            )
            pool.left_behind[stream] = entry
            self.prefixes.add(entry)
        else:
            pool.context.forget(stream)

    def expire(self) -> None:
        """Let go of entries that are too old to be kept."""
        for entry in self.prefixes.expired():
            pool, stream = entry.pool, entry.stream
            self._unlist(entry, keep=False)
            if pool is not None:
                pool.context.forget(stream)

    def arrange(self, *, is_quiet: bool) -> None:
        """Before a step: move on what has filled its stream, and if nobody is coming bring together those that generate, close
        a hole and empty a short stream, so that fewer calls are needed."""
        self.expire()
        for sequence in self._wide.holders() if self._wide is not self._long else []:
            if sequence.n_cells >= self._wide.capacity_tokens:
                self._parked.append((sequence, self._wide.context.save(sequence.stream)))
                self._wide.context.forget(self._wide.release(sequence))
        while self._parked and self._long.n_free:
            sequence, state = self._parked.popleft()
            self._put(sequence, self._long, self._long.candidates()[0], state)
        if is_quiet:
            for pool in self.pools:
                self._tidy(pool)
            self._leave_short()

    def check(self) -> None:
        """With nothing running: every stream is free and holds what the books say. Raises `MemoryCorrupt`."""
        if self.running():
            raise MemoryCorrupt("sequences hold streams although no request is left")
        for pool in self.pools:
            if pool.n_free != pool.context.n_streams:
                raise MemoryCorrupt("a stream is neither free nor held")
            for stream in range(pool.context.n_streams):
                entry = pool.left_behind.get(stream)
                if pool.context.n_cells(stream) != (len(entry.tokens) if entry else 0):
                    raise MemoryCorrupt(f"stream {stream} does not hold what was left behind in it")
        for entry in self.prefixes.entries():
            in_stream = entry.pool is not None and entry.pool.left_behind.get(entry.stream) is entry
            if in_stream == (entry.state is not None):
                raise MemoryCorrupt("an entry of the prefix cache has no cells")
        if self.prefixes.n_bytes > self.prefixes.budget_bytes:
            raise MemoryCorrupt("the prefix cache is over its budget")

    def _is_cut(self, pool: Streams, stream: int, n_tokens: int) -> bool:
        """Whether the stream holds exactly `n_tokens` now."""
        return pool.context.n_cells(stream) == n_tokens or pool.context.trim(stream, n_tokens, self._window_tokens)

    def _lifetime(self, sequence: Sequence) -> Lifetime:
        lifetime = sequence.request.keeping.lifetime(self.prefixes.now_s())
        until_s = max(lifetime.protected_until_s, sequence.protected_until_s)
        return lifetime._replace(protected_until_s=until_s)

    def _is_being_computed(self, request: Request, n_least: int) -> bool:
        """Someone of this project is computing `n_least` tokens of this prompt right now: waiting costs less than doing it
        twice."""
        if not self._wide.context.is_movable:
            return False
        available = 0
        for in_common, entry in self.prefixes.matches(request.project, request.prompt):
            shared = request.keeping.n_readable(in_common)
            available = max(available, self._usable(entry, shared, request))
            is_coming = entry.sequence is not None and entry.n_present < shared
            if is_coming and shared - available >= n_least:
                return True
            if shared <= available:
                break
        return False

    def _usable(self, entry: Entry, shared: int, request: Request) -> int:
        """Tokens of a prompt that need not be evaluated if it starts from `entry`, with which it shares `shared`."""
        n_prompt = len(request.tokens)
        if self._checkpoints_only:
            whole = len(entry.tokens)
            is_whole = entry.sequence is None and shared == whole < n_prompt
            return whole if is_whole and request.keeping.n_readable(whole) == whole else 0
        n_tokens = request.keeping.n_readable(min(shared, entry.n_present))
        behind_inset = max((one.end for one in request.insets if one.end <= min(n_tokens, n_prompt - 1)), default=0)
        block_rows = 1 if self._is_busy else self._block_rows  # in calls with others' rows the blocks are others anyway
        n_tokens = max(behind_inset, min(n_tokens, n_prompt - max(LEAST_ROWS, block_rows)))
        is_exact = request.keeping.caching.is_explicit or not self._can_trim
        return resumable(request.insets, n_tokens, block=1 if is_exact else block_rows)

    def _with_prefix(self, pool: Streams, sequence: Sequence) -> tuple[int, int]:
        """A free stream of `pool` with the longest start of the prompt in it that can be had, and its length."""
        request = sequence.request
        candidates = pool.candidates()
        best, n_best = self._best_start(pool, request)
        if best is None:
            return self._clear(pool, candidates[0]), 0
        self.prefixes.touch(best)
        if n_best == len(best.tokens):
            sequence.protected_until_s = best.lifetime.protected_until_s
        if best.pool is pool and best.stream in candidates:
            self._unlist(best, keep=self._is_worth_a_copy(best, n_best))
            return best.stream, self._trimmed(pool, best.stream, n_best)
        state = self._state_of(best)
        if state is not None and not state.fits(pool.capacity_tokens):
            state = state.first(n_best)
        stream = self._clear(pool, candidates[0])
        if state is None or not pool.context.restore(stream, state):
            return stream, 0
        return stream, self._trimmed(pool, stream, n_best)

    def _is_worth_a_copy(self, entry: Entry, n_left: int) -> bool:
        """Whether what is lost of it beyond the first `n_left` tokens is; an inset always, for it takes long to encode."""
        lost = entry.tokens[n_left:]
        is_wanted = len(lost) > 0 and entry.lifetime.is_protected(self.prefixes.now_s())
        return is_wanted or len(lost) >= _WORTH_WAITING_FOR_TOKENS or bool((lost < 0).any())

    def _best_start(self, pool: Streams, request: Request) -> tuple[Entry | None, int]:
        """The entry that saves most, the cheapest to start from where several save as much, and how much it saves."""
        best: Entry | None = None
        n_best = 0
        for shared, entry in self.prefixes.matches(request.project, request.prompt):
            if shared < n_best:
                break
            n_usable = self._usable(entry, shared, request)
            is_nearer = best is not None and _distance(entry, pool) < _distance(best, pool)
            if n_usable > n_best or (n_usable == n_best and is_nearer):
                best, n_best = entry, n_usable
        return best, n_best

    def _trimmed(self, pool: Streams, stream: int, n_tokens: int) -> int:
        """`n_tokens` where the stream now holds exactly these; else 0, and it is empty."""
        if pool.context.n_cells(stream) == n_tokens:
            n_kept = n_tokens if self._is_complete(pool, stream, n_tokens) else 0
        else:
            n_kept = n_tokens if pool.context.trim(stream, n_tokens, self._window_tokens) else 0
        if not n_kept:
            pool.context.forget(stream)
        return n_kept

    def _is_complete(self, pool: Streams, stream: int, n_tokens: int) -> bool:
        return self._checkpoints_only or pool.context.trim(stream, n_tokens, self._window_tokens)

    def _state_of(self, entry: Entry) -> State | None:
        """A copy of the entry's cells; the copy is kept, so that the next one who wants it need not make another."""
        if entry.state is not None:
            return entry.state
        holder = entry.sequence
        pool, stream = (holder.pool, holder.stream) if holder else (entry.pool, entry.stream)
        if pool is None:
            return None
        tokens = np.array(holder.tokens[: holder.n_cells], np.int32) if holder else entry.tokens
        if pool.context.is_movable or not holder:
            state = pool.context.save(stream)
            if holder is None or self.n_kept(holder.request, len(tokens)) == len(tokens):
                self.prefixes.add(Entry(project=entry.project, tokens=tokens, lifetime=entry.lifetime, state=state))
            return state
        return None

    def _clear(self, pool: Streams, stream: int) -> int:
        """Empty a free stream; what was left behind in it moves to host memory if there is room and use for it."""
        entry = pool.left_behind.get(stream)
        if entry is not None:
            self._unlist(entry, keep=not self._can_trim or self._is_worth_a_copy(entry, self._n_elsewhere(entry)))
            pool.context.forget(stream)
        return stream

    def _n_elsewhere(self, entry: Entry) -> int:
        """Of its first tokens, how many another entry holds too: of many that share a long start one has to stay."""
        n_elsewhere = 0
        for shared, other in self.prefixes.matches(entry.project, entry.tokens):
            if shared <= n_elsewhere:
                break
            if other is not entry:
                n_elsewhere = max(n_elsewhere, min(shared, other.n_present))
        return n_elsewhere

    def _unlist(self, entry: Entry, *, keep: bool) -> None:
        """The entry's stream is about to be used for something else: `keep` a copy, unless another entry has it all."""
        is_covered = self.prefixes.is_covered(entry)
        self.prefixes.remove(entry)
        if entry.pool is None:
            return
        del entry.pool.left_behind[entry.stream]
        if keep and not is_covered:
            state = entry.pool.context.save(entry.stream)
            self.prefixes.add(
                Entry(
                    project=entry.project,
                    tokens=entry.tokens,
                    lifetime=entry.lifetime,
                    state=state,
                    last_used=entry.last_used,
                    used_s=entry.used_s,
                )
            )

    def _tidy(self, pool: Streams) -> None:
        """One move, or two that change places, so that the next steps need fewer calls."""
        if (better := pool.better_place()) is None:
            return
        sequence, stream = better
        holder, left = pool.holder(stream), sequence.stream
        if holder is None:
            self._move(sequence, pool, pool, stream)
        else:
            state = pool.context.save(stream)
            pool.context.forget(pool.release(holder))
            self._move(sequence, pool, pool, stream)
            self._put(holder, pool, left, state)

    def _leave_short(self) -> None:
        if self._short and self._short.holders() and self._wide.n_free > 1:  # the last one is kept for newcomers
            self._move(self._short.holders()[-1], self._short, self._wide, self._wide.candidates()[0])

    def _move(self, sequence: Sequence, source: Streams, pool: Streams, stream: int) -> None:
        """From its stream of `source` to a free one of `pool`."""
        state = source.context.save(sequence.stream)
        source.context.forget(source.release(sequence))
        self._put(sequence, pool, stream, state)

    def _put(self, sequence: Sequence, pool: Streams, stream: int, state: State) -> None:
        self._clear(pool, stream)
        if not pool.context.restore(stream, state):
            raise MemoryCorrupt(f"the state of a running sequence does not fit into stream {stream}")
        pool.take(sequence, stream)


def _distance(entry: Entry, pool: Streams) -> int:
    """What starting from `entry` costs: nothing, one copy, or two."""
    if entry.pool is pool:
        return 0
    return 1 if entry.state is not None else 2
