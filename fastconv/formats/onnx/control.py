"""Control flow: the graphs inside are translated like the graph outside."""

from __future__ import annotations

from fastconv.formats.onnx.call import Call, translates
from fastconv.network import Node


@translates("If")
def branch(call: Call) -> list[Node]:
    then, first = call.subgraph(call.get("then_branch"))
    otherwise, second = call.subgraph(call.get("else_branch"))
    inputs = (call.input(0), *first, *second)
    return call.node("branch", inputs, then=then, otherwise=otherwise, split=len(first))


@translates("Loop")
def loop(call: Call) -> list[Node]:
    body, captured = call.subgraph(call.get("body"))
    carried = max(0, len(call.inputs) - 2)
    inputs = (call.input(0), call.input(1), *call.inputs[2:], *captured)
    scanned = len(body.outputs) - 1 - carried
    return call.node("loop", inputs, body=body, carried=carried, scanned=scanned)


@translates("Scan")
def scan(call: Call) -> list[Node]:
    body, captured = call.subgraph(call.get("body"))
    scanned = call.get("num_scan_inputs")
    first = 0 if call.opset >= 9 else 1
    carried = len(call.inputs) - first - scanned
    outputs = len(body.outputs) - carried
    if scanned < 1 or carried < 0 or outputs < 0:
        raise ValueError(
            f"a scan over {scanned} of {len(call.inputs) - first} inputs whose body has "
            f"{len(body.outputs)} outputs"
        )
    zeros = (0,) * scanned
    names = ("directions",) if first else ("scan_input_directions",)
    options = {
        "body": body,
        "carried": carried,
        "scanned": scanned,
        "input_axes": call.axes("scan_input_axes") or zeros,
        "input_back": call.axes(names[0]) or zeros,
        "output_axes": call.axes("scan_output_axes") or (0,) * outputs,
        "output_back": call.axes("scan_output_directions") or (0,) * outputs,
    }
    inputs = (*call.inputs, *captured)
    return call.node("scan_batches" if first else "scan", inputs, **options)
