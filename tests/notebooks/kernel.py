"""Executes one notebook, in a process of its own: `python -m tests.notebooks.kernel`.

The notebook comes on the standard input and goes back on the standard output, as far as
it ran. Its kernel sees warnings as errors and reaches no host but this one.
"""

import sys
from contextlib import suppress
from tempfile import TemporaryDirectory

import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

_OF_THE_KERNEL = "ipykernel|IPython|jupyter_client|tornado|zmq"
_SETUP = "; ".join(
    [
        "import warnings, pytest_socket",
        'pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)',
        'warnings.simplefilter("error")',
        f'warnings.filterwarnings("ignore", module="{_OF_THE_KERNEL}")',
        "del warnings, pytest_socket",
    ]
)


def main() -> None:
    notebook = nbformat.read(sys.stdin, as_version=4)
    with TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            # Files in place of ports: two kernels could be given the same port.
            AsyncKernelManager(transport="ipc", ip=f"{folder}/kernel"),
            timeout=120,
            record_timing=False,
            extra_arguments=[f"--IPKernelApp.exec_lines={_SETUP}"],
        )
        with suppress(CellExecutionError):  # the error is among the cell's outputs
            client.execute()
    nbformat.write(notebook, sys.stdout)


if __name__ == "__main__":
    main()
