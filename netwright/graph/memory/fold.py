"""What a compiler takes out of a network before it plans memory: folded normalization, constant parts, unused parts.

Nothing is rewritten; each function says which operations of a `Graph` go, and `flow.flow` leaves them out.
"""

from __future__ import annotations

from netwright.graph.graph import Graph, Op


def uses_running_statistics(graph: Graph, op: Op) -> bool:
    """Say whether an operation is a BatchNorm that is only a scale and a shift of each channel."""
    return graph.traits(op).batch_norm and not op.arguments.get("training") and not op.arguments.get("training_mode")


def folded_batch_norms(graph: Graph) -> dict[int, int]:
    """Return operation index of each BatchNorm that folds into weights -> index of the operation that has them.

    It folds where it has running statistics, and the convolution or matrix product before it writes for it alone.
    """
    makers, readers = _makers_and_readers(graph)
    kept = {graph.tensors[index].storage for index in graph.outputs}
    folds = {}
    for index, op in enumerate(graph.ops):
        if not uses_running_statistics(graph, op) or not op.inputs:
            continue
        source = graph.tensors[op.inputs[0]]
        maker = makers.get(source.storage)
        if maker is None or readers.get(source.storage) != [index] or source.storage in kept:
            continue
        channels = graph.traits(graph.ops[maker]).channels
        made = graph.tensors[graph.ops[maker].outputs[0]]
        if channels is not None and made.shape[channels] == source.shape[1]:
            folds[index] = maker
    return folds


def constant_operations(graph: Graph) -> tuple[frozenset[int], frozenset[int]]:
    """Return the operations that depend on no input, and the storages that they fill: known before the first run."""
    writers: dict[int, list[int]] = {}
    for index, op in enumerate(graph.ops):
        for storage in {*op.writes, *(graph.tensors[t].storage for t in op.outputs)}:
            writers.setdefault(storage, []).append(index)
    varying = {index for index, storage in enumerate(graph.storages) if storage.role == "input"}
    constant: set[int] = set()
    changed = True
    while changed:  # a later write that depends on the input makes what read the storage before it depend on it too
        changed = False
        constant = set()
        for index, op in enumerate(graph.ops):
            touched = {graph.tensors[t].storage for t in (*op.inputs, *op.outputs)} | set(op.writes)
            if touched & varying or graph.traits(op).random:
                new = (set(op.writes) | {graph.tensors[t].storage for t in op.outputs}) - varying
                for storage in new:
                    changed |= any(writer < index for writer in writers[storage])
                varying |= new
            else:
                constant.add(index)
    filled = {graph.tensors[t].storage for index in constant for t in graph.ops[index].outputs}
    return frozenset(constant), frozenset(filled - varying)


def unused_operations(graph: Graph) -> frozenset[int]:
    """Return the operations whose results reach no output of the graph; none of a graph without outputs."""
    if not graph.outputs:
        return frozenset()
    needed = {graph.tensors[index].storage for index in graph.outputs}
    unused = set()
    for index in range(len(graph.ops) - 1, -1, -1):
        op = graph.ops[index]
        made = {graph.tensors[t].storage for t in op.outputs} | set(op.writes)
        if made & needed:
            needed |= {graph.tensors[t].storage for t in op.inputs}
        else:
            unused.add(index)
    return frozenset(unused)


def _makers_and_readers(graph: Graph) -> tuple[dict[int, int], dict[int, list[int]]]:
    """Return per storage the operation that made it, and the later ones that touch its memory, views left out."""
    makers: dict[int, int] = {}
    readers: dict[int, list[int]] = {}
    for index, op in enumerate(graph.ops):
        if op.view:
            continue
        touched = {graph.tensors[t].storage for t in op.inputs} | set(op.writes)
        for storage in touched:
            readers.setdefault(storage, []).append(index)
        for t in op.outputs:
            storage = graph.tensors[t].storage
            if storage not in touched:
                makers.setdefault(storage, index)
    return makers, readers
