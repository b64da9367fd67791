import os
import pathlib

import tensorflow as tf
from tensorflow.core.framework import types_pb2

from tfdgm._keras_compat import op_definition
from tfdgm.serving.artifact import ArtifactError, plainly_named, read_graph
from tfdgm.serving.saved_model import find_saved_model

#: Operations with a state that touch nothing but variables, random numbers and control flow.
_STATEFUL = {
    "Assert", "AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp", "Case", "CheckNumerics", "CheckNumericsV2",
    "DisableCopyOnRead", "If", "Multinomial", "NonDeterministicInts", "ParameterizedTruncatedNormal", "RandomGamma",
    "RandomPoissonV2", "RandomShuffle", "RandomStandardNormal", "RandomUniform", "RandomUniformInt", "ReadVariableOp",
    "ResourceGather", "ResourceGatherNd", "RngReadAndSkip", "RngSkip", "StatefulPartitionedCall", "StatefulRandomBinomial",
    "StatefulStandardNormalV2", "StatefulTruncatedNormal", "StatefulUniform", "StatefulUniformFullInt", "StatefulUniformInt",
    "StatelessRandomGetAlg", "TruncatedNormal", "VarHandleOp", "VarIsInitializedOp", "VariableShape", "While",
}  # fmt: skip
#: What a text may say to an operation. Others name files, addresses or Python functions.
_TEXTS = {
    "align", "bad_indices_policy", "config", "config_proto", "data_format", "dst_format", "equation", "executor_type",
    "interpolation", "kernel_type", "message", "method", "mode", "padding", "src_format",
}  # fmt: skip


def load_graph(path: str | os.PathLike) -> dict:
    """{name: signature} of the SavedModel at `path`, to be run by TensorFlow as a server runs it, without our classes.

    A SavedModel is a program. This one takes only such as compute: an operation that may read or write files, reach other
    machines or call Python is refused in every function, but in those two that save and restore variables, which nothing else
    calls. An operation is taken where TensorFlow knows it as one without state and without texts, or where it is on our lists.

    Raises:
      ArtifactError: for a SavedModel that cannot be read, or holds another operation.
    """
    path = find_saved_model(path)
    check_operations(path)
    try:
        if other := [file for file in path.rglob("*") if not (file.is_file() or file.is_dir())]:
            raise ValueError(f"{other[0].relative_to(path)} is no file")
        with plainly_named(path) as plain:
            return tf.saved_model.load(str(plain)).signatures
    except (tf.errors.OpError, OSError, ValueError, IndexError, RuntimeError, AttributeError, TypeError, KeyError) as error:
        raise ArtifactError(f"The SavedModel at {path} is damaged: {str(error).splitlines()[0]}") from None


def check_operations(path: pathlib.Path) -> None:
    """An ArtifactError where a function in the graph at `path` could do more than compute. The nodes outside of functions are
    not run by `tf.saved_model.load`."""
    graph = read_graph(path)
    if not graph.HasField("object_graph_def"):
        raise ArtifactError(
            f"The SavedModel at {path} is one of TensorFlow 1, all of which is run. Expected one of TensorFlow 2."
        )
    library, held = graph.graph_def.library.function, graph.object_graph_def
    ends = {graph.saver_def.save_tensor_name.split(":")[0], graph.saver_def.restore_op_name}
    savers = {node.attr["f"].func.name for node in graph.graph_def.node if node.name in ends}
    # A function that implements an api may be called in place of another.
    savers &= {function.signature.name for function in library if "api_implements" not in function.attr}
    nodes = [node for function in library if function.signature.name not in savers for node in function.node_def]
    called = {name for node in nodes for name in (node.op, *_functions_of(node))} | set(held.concrete_functions)
    for part in held.nodes:
        called |= {*part.function.concrete_functions, part.bare_concrete_function.concrete_function_name}
    functions = {name for name in (function.signature.name for function in library) if op_definition(name) is None}
    used = {node.op for node in nodes} - functions
    if refused := sorted(op for op in used if not _only_computes(op)) or sorted(savers & called):
        raise ArtifactError(
            f"The SavedModel at {path} is not run: expected operations that compute. Received: {', '.join(refused)}, which may "
            "reach files, other machines or Python"
        )


def _functions_of(node):
    """The names of the functions that a node calls."""
    for value in node.attr.values():
        yield from (function.name for function in (value.func, *value.list.func) if function.name)


def _only_computes(op):
    definition = op_definition(op)
    if definition is None or op in _STATEFUL:
        return op in _STATEFUL
    if op.startswith("_") or "Dataset" in op:  # TensorFlow's own, and pipelines of data, which may come from files.
        return False
    takes_text = any(argument.type in (types_pb2.DT_STRING, types_pb2.DT_STRING_REF) for argument in definition.input_arg)
    says = {attribute.name for attribute in definition.attr if "string" in attribute.type}
    return not (definition.is_stateful or takes_text or says - _TEXTS)
