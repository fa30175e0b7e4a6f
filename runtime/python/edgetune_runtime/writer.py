"""What every way of generating shares: requests out of texts, and the loop that writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from .adapter import Adapter
from .beams import beam_chunks
from .constraints import Constraints
from .engine import Decoder
from .ensemble_decoder import EnsembleDecoder
from .errors import OptionError
from .generation import MAX_ROWS, generated_chunks, told
from .inputs import Row
from .memory import Memory
from .options import Options
from .progress import Request
from .results import Chunk
from .speculation import speculative_chunks
from .texts import Texts
from .tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Writer:
    """Of one model. Threads may share it."""

    texts: Texts
    constraints: Constraints
    tokenizer: Tokenizer
    """Of what is written."""
    end_ids: tuple[int, ...]
    memory: Memory

    def requests(
        self,
        rows: Sequence[Row],
        adapters: Sequence[Sequence[Adapter | None]],
        options: Options,
        places: Sequence[str],
    ) -> list[Request]:
        """One for each row, with its adapters, an ensemble's members or one; `places` are what messages call the rows.

        Raises ContextLengthError where a row and its new tokens do not fit, and what `Constraints.grammar` does.
        """
        grammar = self.constraints.grammar(options)
        found = [self.texts.request(*x[:2], options, i, x[2]) for i, x in enumerate(zip(rows, adapters, places))]
        return [replace(request, grammar=grammar) for request in found]

    def chunks(self, decoder: Decoder, requests: Sequence[Request], started: float) -> Iterator[tuple[int, Chunk]]:
        """As `generated_chunks`, by the way of writing that the requests' options ask for.

        Raises MemoryLimitError where a single text and its results do not fit the memory limit.
        """
        chunks = partial(generated_chunks, groups=self._groups(decoder, requests))
        if requests and requests[0].options.num_beams > 1:
            chunks = beam_chunks
        if any(request.options.prompt_lookup_num_tokens for request in requests):
            if isinstance(decoder, EnsembleDecoder):
                raise OptionError(
                    "prompt_lookup_num_tokens: an ensemble's rows take one token at a time. Leave it out, or name one "
                    "adapter."
                )
            chunks = speculative_chunks
        found = chunks(decoder, self.tokenizer, self.end_ids, requests, started)  # type: ignore[arg-type]
        on_chunk = requests[0].options.on_chunk if requests else None
        return found if on_chunk is None else told(on_chunk, found)

    def _groups(self, decoder: Decoder, requests: Sequence[Request]) -> list[range]:
        """Which texts decode together, as far as the memory limit allows."""
        if not requests:
            return []
        members = len(decoder.members) if isinstance(decoder, EnsembleDecoder) else 1
        rows = members * max(requests[0].options.n, requests[0].options.num_beams)
        positions = [
            len(x.token_ids) + (x.adapter.info.virtual_tokens if x.adapter else 0) + x.options.max_new_tokens
            for x in requests
        ]
        return self.memory.groups(positions, max(MAX_ROWS // rows, 1), rows)
