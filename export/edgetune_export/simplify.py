"""A traced graph without what the tracer leaves over: constants are folded, what cancels out is gone."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import Sequential, common
from onnxscript.optimizer import fold_constants_ir
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.rules import common as rules

ROUNDS = 2

RULES = (
    *rules.mul_by_1_rule.commute(), *rules.add_0_rule.commute(), rules.sub_0_rule, rules.div_by_1_rule,
    rules.one_reshape_matmul_reshape_rule, rules.two_reshapes_matmul_reshape_rule,
    rules.cast_constant_of_shape_rule, rules.cast_constant_of_shape_without_value_rule,
    rules.collapse_slice_rule, rules.collapse_slice2_rule, rules.cast_cast_rule, rules.no_op_cast_rule,
    rules.no_op_expand_rule, rules.flatten_to_reshape_rule, rules.reshape_reshape_rule, rules.no_op_transpose_rule,
    rules.transpose_transpose_rule, rules.unsqueeze_unsqueeze_rule, rules.squeeze_reshape_1d_rule,
    rules.remove_optional_bias_from_gemm_rule,
)  # fmt: skip
"""Those of torch's exporter that transformers meet. Slices that make a split are left to `fuse_products`: that rule
looks at every pair of nodes, which took more than half of an export of 30 layers."""


def simplified(model: ir.Model) -> ir.Model:
    """The same model, rewritten in place: torch's own optimisation, in a time that grows with the graph."""
    common.InlinePass()(model)
    for _ in range(ROUNDS):
        folded = fold_constants_ir(model, onnx_shape_inference=True)
        before = len(model.graph)
        rewrite(model, RULES)
        if not folded and len(model.graph) == before:
            break
    Sequential(
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)
    return model
